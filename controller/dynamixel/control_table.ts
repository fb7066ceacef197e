/**
 * The control table of Dynamixel's X series with Protocol 2.0: what lies at which address.
 *
 * From ROBOTIS' e-manual, pages of XM540-W270 and XM430-W350, the two models of a ViperX 300. Left out
 * are items that no arm uses: external ports, start-up configuration, indirect addresses and data.
 *
 * @module
 */

/** One item of the table. */
export interface ControlItem {
  /** First address. */
  readonly address: number;
  /** Bytes, little-endian. */
  readonly bytes: 1 | 2 | 4;
  /** Readable only, or writable too. */
  readonly access: "r" | "rw";
  /** `eeprom` outlives power and is locked while torque is on; `ram` starts afresh. */
  readonly area: "eeprom" | "ram";
  /** Two's complement rather than unsigned. */
  readonly isSigned: boolean;
  /** Value of a new servo (EEPROM) or after start (RAM). */
  readonly initial: number;
  /** Smallest value that may be written. */
  readonly min: number;
  /** Greatest value that may be written. */
  readonly max: number;
  /** What one step of the value is. */
  readonly unit: string;
}

/** Largest magnitude of a position in ticks where several turns are allowed: 256 turns. */
const MAX_TURN_TICKS = 1_048_575;

type Range = readonly [initial: number, min: number, max: number];

function eeprom(address: number, bytes: 1 | 2 | 4, range: Range, unit = ""): ControlItem {
  return item("eeprom", address, bytes, "rw", range, unit);
}

function ram(address: number, bytes: 1 | 2 | 4, range: Range, unit = ""): ControlItem {
  return item("ram", address, bytes, "rw", range, unit);
}

function present(address: number, bytes: 1 | 2 | 4, unit = "", isSigned = false): ControlItem {
  const all: Range = isSigned ? [0, -(2 ** (8 * bytes - 1)), 2 ** (8 * bytes - 1) - 1] : [
    0,
    0,
    2 ** (8 * bytes) - 1,
  ];
  return item("ram", address, bytes, "r", all, unit);
}

function item(
  area: ControlItem["area"],
  address: number,
  bytes: 1 | 2 | 4,
  access: ControlItem["access"],
  [initial, min, max]: Range,
  unit: string,
): ControlItem {
  // Four-byte items are signed throughout the table, so that every driver reads them alike.
  const isSigned = min < 0 || bytes === 4;
  return { address, bytes, access, area, isSigned, initial, min, max, unit };
}

const VELOCITY_UNIT = "0.229 rev/min";
const CURRENT_UNIT = "2.69 mA";
const GAIN_MAX = 16_383;

/** The items; ranges and initial values that differ are those of XM540-W270. */
export const CONTROL_TABLE = {
  modelNumber: { ...eeprom(0, 2, [1120, 0, 0xffff]), access: "r" },
  modelInformation: { ...eeprom(2, 4, [0, 0, 0x7fffffff]), access: "r" },
  firmwareVersion: { ...eeprom(6, 1, [0, 0, 0xff]), access: "r" },
  id: eeprom(7, 1, [1, 0, 252]),
  baudRate: eeprom(8, 1, [1, 0, 7]),
  returnDelayTime: eeprom(9, 1, [250, 0, 254], "2 µs"),
  driveMode: eeprom(10, 1, [0, 0, 13]),
  operatingMode: eeprom(11, 1, [3, 0, 16]),
  secondaryId: eeprom(12, 1, [255, 0, 255]),
  protocolType: eeprom(13, 1, [2, 1, 2]),
  homingOffset: eeprom(20, 4, [0, -1_044_479, 1_044_479], "tick"),
  movingThreshold: eeprom(24, 4, [10, 0, 1023], VELOCITY_UNIT),
  temperatureLimit: eeprom(31, 1, [80, 0, 100], "°C"),
  maxVoltageLimit: eeprom(32, 2, [160, 95, 160], "0.1 V"),
  minVoltageLimit: eeprom(34, 2, [95, 95, 160], "0.1 V"),
  pwmLimit: eeprom(36, 2, [885, 0, 885], "0.113 %"),
  currentLimit: eeprom(38, 2, [2047, 0, 2047], CURRENT_UNIT),
  velocityLimit: eeprom(44, 4, [128, 0, 1023], VELOCITY_UNIT),
  maxPositionLimit: eeprom(48, 4, [4095, 0, 4095], "tick"),
  minPositionLimit: eeprom(52, 4, [0, 0, 4095], "tick"),
  shutdown: eeprom(63, 1, [52, 0, 0x3d]),
  torqueEnable: ram(64, 1, [0, 0, 1]),
  led: ram(65, 1, [0, 0, 1]),
  statusReturnLevel: ram(68, 1, [2, 0, 2]),
  registeredInstruction: present(69, 1),
  hardwareErrorStatus: present(70, 1),
  velocityIGain: ram(76, 2, [1920, 0, GAIN_MAX]),
  velocityPGain: ram(78, 2, [100, 0, GAIN_MAX]),
  positionDGain: ram(80, 2, [0, 0, GAIN_MAX]),
  positionIGain: ram(82, 2, [0, 0, GAIN_MAX]),
  positionPGain: ram(84, 2, [800, 0, GAIN_MAX]),
  feedforward2ndGain: ram(88, 2, [0, 0, GAIN_MAX]),
  feedforward1stGain: ram(90, 2, [0, 0, GAIN_MAX]),
  // Reads −1 once it has expired; −1 cannot be written.
  busWatchdog: { ...ram(98, 1, [0, 0, 127], "20 ms"), isSigned: true },
  goalPwm: ram(100, 2, [885, -885, 885], "0.113 %"),
  goalCurrent: ram(102, 2, [2047, -2047, 2047], CURRENT_UNIT),
  goalVelocity: ram(104, 4, [128, -1023, 1023], VELOCITY_UNIT),
  profileAcceleration: ram(108, 4, [0, 0, 32_767], "214.577 rev/min²"),
  profileVelocity: ram(112, 4, [0, 0, 32_767], VELOCITY_UNIT),
  goalPosition: ram(116, 4, [0, -MAX_TURN_TICKS, MAX_TURN_TICKS], "tick"),
  realtimeTick: present(120, 2, "ms"),
  moving: present(122, 1),
  movingStatus: present(123, 1),
  presentPwm: present(124, 2, "0.113 %", true),
  presentCurrent: present(126, 2, CURRENT_UNIT, true),
  presentVelocity: present(128, 4, VELOCITY_UNIT, true),
  presentPosition: present(132, 4, "tick", true),
  velocityTrajectory: present(136, 4, VELOCITY_UNIT, true),
  positionTrajectory: present(140, 4, "tick", true),
  presentInputVoltage: present(144, 2, "0.1 V"),
  presentTemperature: present(146, 1, "°C"),
  backupReady: present(147, 1),
} as const satisfies Record<string, ControlItem>;

/** Name of an item. */
export type ControlItemName = keyof typeof CONTROL_TABLE;

/** Every item of one model. */
export type ControlTable = Readonly<Record<ControlItemName, ControlItem>>;

/** One past the last address of the table. */
export const CONTROL_TABLE_BYTES = 148;

/** Ticks of a turn. */
export const TICKS_PER_TURN = 4096;

/** Revolutions per minute that one step of a velocity is. */
export const VELOCITY_UNIT_RPM = 0.229;

/** Revolutions per minute per minute that one step of an acceleration is. */
export const ACCELERATION_UNIT_RPM2 = 214.577;

/** Milliamperes that one step of a current is. */
export const CURRENT_UNIT_MA = 2.69;

/** Line rates in bit/s by the value of the item Baud_Rate. */
export const BAUD_RATES = [
  9_600,
  57_600,
  115_200,
  1_000_000,
  2_000_000,
  3_000_000,
  4_000_000,
  4_500_000,
] as const;

/** What tells one model from another. */
export interface ServoModel {
  /** Model number, as a ping answers. */
  readonly number: number;
  /** ROBOTIS' name. */
  readonly name: string;
  /** Greatest current limit, and its initial value, in {@link CURRENT_UNIT_MA}. */
  readonly maxCurrent: number;
  /** Initial velocity limit in {@link VELOCITY_UNIT_RPM}. */
  readonly velocityLimit: number;
  /** Speed without load at 12 V. */
  readonly noLoadRpm: number;
  /** Current of the stalled motor at 12 V. */
  readonly stallCurrentMa: number;
}

/** The models of a ViperX 300. */
export const SERVO_MODELS = {
  "XM540-W270": {
    number: 1120,
    name: "XM540-W270",
    maxCurrent: 2047,
    velocityLimit: 128,
    noLoadRpm: 30,
    stallCurrentMa: 4400,
  },
  "XM430-W350": {
    number: 1020,
    name: "XM430-W350",
    maxCurrent: 1193,
    velocityLimit: 200,
    noLoadRpm: 46,
    stallCurrentMa: 2300,
  },
} as const satisfies Record<string, ServoModel>;

/**
 * The table of one model.
 *
 * @param model The model.
 * @returns {@link CONTROL_TABLE} with the model's own number, ranges and initial values.
 */
export function controlTableOf(model: ServoModel): ControlTable {
  const { number, maxCurrent, velocityLimit } = model;
  const table: ControlTable = CONTROL_TABLE;
  return {
    ...table,
    modelNumber: { ...table.modelNumber, initial: number },
    currentLimit: { ...table.currentLimit, initial: maxCurrent, max: maxCurrent },
    goalCurrent: { ...table.goalCurrent, initial: maxCurrent, min: -maxCurrent, max: maxCurrent },
    velocityLimit: { ...table.velocityLimit, initial: velocityLimit },
    goalVelocity: { ...table.goalVelocity, initial: velocityLimit },
  };
}

/**
 * The bytes of a value, as they are written to an item.
 *
 * @param item Where it goes.
 * @param value The value, in the item's unit.
 * @returns The item's number of bytes, little-endian.
 * @throws {RangeError} The value is no integer that fits the item's bytes.
 */
export function encodeItem(item: ControlItem, value: number): Uint8Array {
  const span = 2 ** (8 * item.bytes);
  const [low, high] = item.isSigned ? [-span / 2, span / 2 - 1] : [0, span - 1];
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(
      `Cannot encode ${value} for address ${item.address}: expected an integer in ${low}…${high}`,
    );
  }
  return Uint8Array.from({ length: item.bytes }, (_, i) => (value >> (8 * i)) & 0xff);
}

/**
 * The value of bytes that were read from an item.
 *
 * @param item Where they come from.
 * @param bytes At least the item's number of bytes, little-endian.
 * @param offset Index of the first one.
 * @returns The value, in the item's unit.
 * @throws {RangeError} There are fewer bytes than the item has.
 */
export function decodeItem(item: ControlItem, bytes: Uint8Array, offset = 0): number {
  if (offset < 0 || offset + item.bytes > bytes.length) {
    throw new RangeError(
      `Cannot decode address ${item.address}: ${
        bytes.length - offset
      } bytes, expected ${item.bytes}`,
    );
  }
  let value = 0;
  for (let i = item.bytes - 1; i >= 0; i--) value = value * 256 + bytes[offset + i];
  const span = 2 ** (8 * item.bytes);
  return item.isSigned && value >= span / 2 ? value - span : value;
}
