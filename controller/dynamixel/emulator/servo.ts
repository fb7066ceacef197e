/**
 * One X-series servo: what it does with the instructions that reach it, and how it moves in time.
 *
 * It follows ROBOTIS' e-manual. Where that is silent: enabling torque after a shutdown is answered with
 * an access error; only 0 may be written to an expired Bus_Watchdog; a reversed servo counts from 4096
 * downwards; after a reboot it is silent for 0.3 s. Position (3), extended position (4) and
 * current-based position mode (5) move; the other modes only store their goals.
 *
 * @module
 */

import {
  ACCELERATION_UNIT_RPM2,
  type ControlItemName,
  CURRENT_UNIT_MA,
  type ServoModel,
  TICKS_PER_TURN,
  VELOCITY_UNIT_RPM,
} from "../control_table.ts";
import {
  ALERT_BIT,
  HARDWARE_ERROR,
  STATUS_ERROR,
  type StatusErrorNumber,
} from "../protocol/status_error.ts";
import {
  FREE_SURROUNDINGS,
  motorCurrentMa,
  SAG_TIME_MS,
  STANDARD_P_GAIN,
  stepTemperatureC,
  type Surroundings,
} from "./body.ts";
import { type MotionLimits, type MotionState, stepMotion } from "./motion_profile.ts";
import { CURRENT_POSITION_MODE, POSITION_MODE, Registers } from "./registers.ts";

/** A servo as it comes to the bus. */
export interface ServoOptions {
  /** Model, which sets limits and speeds. */
  readonly model: ServoModel;
  /** Items that differ from a new servo's, such as ID and limits. */
  readonly settings?: Partial<Readonly<Record<ControlItemName, number>>>;
  /** Where the shaft stands, in ticks that rise counter-clockwise; 2048 unless told. */
  readonly shaftTicks?: number;
  /** ID of the servo across the joint, whose shaft this one turns too, the other way round. */
  readonly boltedTo?: number;
}

/** Time step of the motion; a servo's own control loop runs at 1 kHz. */
const STEP_MS = 1;
/** How long a servo says nothing after a reboot. */
const BOOT_MS = 300;
/** Longest time that {@link Servo.advance} goes through step by step; a longer one is cut short. */
const MAX_ADVANCE_MS = 60_000;
const WATCHDOG_UNIT_MS = 20;
/** How long the current may stay near the stalled motor's before the servo calls it an overload. */
const OVERLOAD_MS = 1_500;
/** Share of the stall current that is near. */
const OVERLOAD_SHARE = 0.8;
/** Homing offsets beyond this count for nothing in position mode. */
const MAX_POSITION_MODE_OFFSET = 1024;
const GOAL_ITEMS: readonly ControlItemName[] = [
  "goalPwm",
  "goalCurrent",
  "goalVelocity",
  "goalPosition",
];
const POSITION_MODES: readonly number[] = [POSITION_MODE, 4, CURRENT_POSITION_MODE];

/** One emulated servo. Time is milliseconds on any clock that never goes back. */
export class Servo {
  /** ID of the servo across the joint, for whoever puts the two together with {@link bolt}. */
  readonly boltedTo: number | undefined;
  readonly #model: ServoModel;
  readonly #registers: Registers;
  /** What turns its shaft: itself, and the servos that are bolted to it. */
  readonly #motors: Servo[] = [this];
  #isBolted = false;
  /** Position and velocity of the trajectory, in the ticks that the servo reports. */
  #trajectory: MotionState;
  #limits: MotionLimits = { velocity: Infinity, acceleration: Infinity };
  #shaftTicks: number;
  #ticksPerS = 0;
  #sagTicks = 0;
  #surroundings: Surroundings = FREE_SURROUNDINGS;
  #temperatureC: number;
  #overloadMs = 0;
  #nowMs = 0;
  #hasClock = false;
  #heardMs = 0;
  #bootedMs = -Infinity;
  #registered: { readonly address: number; readonly data: Uint8Array } | undefined;

  /**
   * A servo just switched on.
   *
   * @param options Model, settings and pose.
   */
  constructor({ model, settings = {}, shaftTicks = TICKS_PER_TURN / 2, boltedTo }: ServoOptions) {
    this.#model = model;
    this.boltedTo = boltedTo;
    this.#registers = new Registers(model);
    for (const [name, value] of Object.entries(settings)) {
      this.#registers.set(name as ControlItemName, value);
    }
    this.#shaftTicks = shaftTicks;
    this.#temperatureC = this.#surroundings.ambientC;
    this.#trajectory = { position: 0, velocity: 0 };
    this.#startRam();
  }

  /** Its ID. */
  get id(): number {
    return this.get("id");
  }

  /** ID that it obeys besides its own, or undefined. */
  get shadowId(): number | undefined {
    const id = this.get("secondaryId");
    return id <= 252 && id !== this.id ? id : undefined;
  }

  /** Where the shaft stands, in ticks that rise counter-clockwise whatever the drive mode. */
  get shaftTicks(): number {
    return this.#shaftTicks;
  }

  /**
   * Bolt another servo's shaft to this one's, facing it: they turn together from now on, the other way
   * round, and time passes for both when it passes for this one. What pulls apart meets in the middle.
   *
   * @param servo The servo; its shaft stays where it is, wherever that is.
   */
  bolt(servo: Servo): void {
    servo.#isBolted = true;
    this.#motors.push(servo);
  }

  /** Value of an item in its unit. */
  get(name: ControlItemName): number {
    return this.#registers.get(name);
  }

  /** Set an item past every rule; for tests and for building an arm. */
  set(name: ControlItemName, value: number): void {
    this.#registers.set(name, value);
  }

  /**
   * Change what the world does to the servo.
   *
   * @param change What differs from now on; positions are in ticks that the servo reports.
   */
  surround(change: Partial<Surroundings>): void {
    this.#surroundings = { ...this.#surroundings, ...change };
    this.#present();
  }

  /** Set the motor's temperature, in °C. */
  setTemperatureC(temperatureC: number): void {
    this.#temperatureC = temperatureC;
    this.#present();
  }

  /** Let hardware errors happen, such as an electrical shock; bits of Hardware_Error_Status. */
  raiseHardwareError(bits: number): void {
    const status = this.get("hardwareErrorStatus") | bits;
    this.#registers.set("hardwareErrorStatus", status);
    if (status & this.get("shutdown")) this.#setTorque(false);
  }

  /** Whether the servo hears anything: not while it boots. */
  isAwake(nowMs: number): boolean {
    return nowMs - this.#bootedMs >= BOOT_MS;
  }

  /** An instruction came over the bus, for whomever: what Bus_Watchdog waits for. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  /** The error byte of an answer: the number, and the alert bit while there is a hardware error. */
  errorByte(number: StatusErrorNumber): number {
    return number | (this.get("hardwareErrorStatus") === 0 ? 0 : ALERT_BIT);
  }

  /** Read a stretch of the control table, or undefined when it reaches past it (access error). */
  read(address: number, length: number): Uint8Array | undefined {
    return this.#registers.read(address, length);
  }

  /**
   * Write from the bus: all of it or nothing.
   *
   * @param address First address.
   * @param data The bytes.
   * @param isShadow The secondary ID was addressed, which cannot reach the EEPROM.
   * @returns Error number.
   */
  write(address: number, data: Uint8Array, isShadow = false): StatusErrorNumber {
    const isLocked = isShadow || this.get("torqueEnable") === 1;
    const planned = this.#registers.plan(address, data, isLocked);
    if (planned.error !== STATUS_ERROR.none) return planned.error;
    const refusal = this.#refusal(planned.values);
    if (refusal !== STATUS_ERROR.none) return refusal;
    for (const [name, value] of planned.values) this.#apply(name, value);
    return STATUS_ERROR.none;
  }

  /** Keep a write for {@link action}; only one is kept. Parameters are those of {@link write}. */
  registerWrite(address: number, data: Uint8Array, isShadow = false): StatusErrorNumber {
    const isLocked = isShadow || this.get("torqueEnable") === 1;
    const { error } = this.#registers.plan(address, data, isLocked);
    if (error !== STATUS_ERROR.none) return error;
    this.#registered = { address, data: data.slice() };
    this.#registers.set("registeredInstruction", 1);
    return STATUS_ERROR.none;
  }

  /** Carry out the write that was kept. */
  action(): StatusErrorNumber {
    const registered = this.#registered;
    if (registered === undefined) return STATUS_ERROR.instruction;
    this.#registered = undefined;
    this.#registers.set("registeredInstruction", 0);
    return this.write(registered.address, registered.data);
  }

  /** Start afresh: RAM and hardware errors are cleared, torque is off. */
  reboot(nowMs: number): void {
    this.#bootedMs = nowMs;
    this.#heardMs = nowMs;
    this.#overloadMs = 0;
    this.#startRam();
  }

  /** Count the position from the present turn again. Not while torque is on: result fail. */
  clearTurns(): StatusErrorNumber {
    if (this.get("torqueEnable") === 1) return STATUS_ERROR.resultFail;
    this.#shaftTicks = modulo(this.#shaftTicks, TICKS_PER_TURN);
    this.#hold();
    return STATUS_ERROR.none;
  }

  /**
   * Let time pass; for a servo that is bolted to another, the other does it.
   *
   * @param nowMs The time it is.
   */
  advance(nowMs: number): void {
    if (this.#isBolted) return;
    if (!this.#hasClock || nowMs - this.#nowMs > MAX_ADVANCE_MS) {
      for (const motor of this.#motors) motor.#startClock(nowMs);
      this.#hasClock = true;
    }
    if (this.#nowMs + STEP_MS > nowMs) return;
    while (this.#nowMs + STEP_MS <= nowMs) this.#step();
    for (const motor of this.#motors) motor.#present();
  }

  #startClock(nowMs: number): void {
    this.#nowMs = nowMs;
    // The clock's zero is anywhere, and time that was cut away is no silence of the controller.
    this.#heardMs = nowMs;
  }

  #startRam(): void {
    const settings = this.#registers;
    settings.resetRam();
    settings.set("goalPwm", settings.get("pwmLimit"));
    settings.set("goalCurrent", settings.get("currentLimit"));
    settings.set("goalVelocity", settings.get("velocityLimit"));
    this.#registered = undefined;
    this.#hold();
  }

  /** Errors that the control table does not know of. */
  #refusal(values: ReadonlyMap<ControlItemName, number>): StatusErrorNumber {
    const watchdog = values.get("busWatchdog");
    const isExpired = this.get("busWatchdog") === -1;
    const writesGoal = GOAL_ITEMS.some((name) => values.has(name));
    if (isExpired && (writesGoal || (watchdog ?? 0) !== 0)) return STATUS_ERROR.dataRange;
    if (
      values.get("torqueEnable") === 1 && this.get("hardwareErrorStatus") & this.get("shutdown")
    ) {
      return STATUS_ERROR.access;
    }
    return STATUS_ERROR.none;
  }

  #apply(name: ControlItemName, value: number): void {
    if (name === "torqueEnable") return this.#setTorque(value === 1);
    this.#registers.set(name, value);
    if (name === "goalPosition") this.#limits = this.#profile(value);
    const { area } = this.#registers.table[name];
    // Drive mode, operating mode and homing offset change what the position is called.
    if (area === "eeprom") this.#hold();
  }

  #setTorque(isOn: boolean): void {
    if (this.get("torqueEnable") === Number(isOn)) return;
    this.#registers.set("torqueEnable", Number(isOn));
    this.#hold();
  }

  /** Stop at once, where the shaft stands, and make that the goal. */
  #hold(): void {
    this.#ticksPerS = 0;
    this.#sagTicks = 0;
    const position = this.#reported(this.#shaftTicks);
    this.#trajectory = { position, velocity: 0 };
    this.#registers.set("goalPosition", Math.round(position));
    this.#present();
  }

  /** The limits of a motion that begins now, from the profile items and what the motor can do. */
  #profile(goal: number): MotionLimits {
    const ticksPerS = (value: number) => (value * VELOCITY_UNIT_RPM * TICKS_PER_TURN) / 60;
    const fastest = (this.#model.noLoadRpm * TICKS_PER_TURN) / 60;
    const [velocity, acceleration] = [this.get("profileVelocity"), this.get("profileAcceleration")];
    if (this.get("driveMode") & 0x04) {
      // Time-based: the items are the motion's time and the time of speeding up, in ms.
      const rampS = Math.min(acceleration, velocity / 2) / 1000;
      if (velocity === 0) return { velocity: fastest, acceleration: Infinity };
      const cruise = Math.abs(goal - this.#trajectory.position) / (velocity / 1000 - rampS);
      return {
        velocity: Math.min(fastest, cruise),
        acceleration: rampS === 0 ? Infinity : cruise / rampS,
      };
    }
    return {
      velocity: velocity === 0 ? fastest : Math.min(fastest, ticksPerS(velocity)),
      acceleration: acceleration === 0
        ? Infinity
        : (acceleration * ACCELERATION_UNIT_RPM2 * TICKS_PER_TURN) / 3600,
    };
  }

  /** One step of all that turns the shaft; it turns to where their pulls meet. */
  #step(): void {
    let pulls = 0;
    let turn = 0;
    for (const motor of this.#motors) {
      const pull = motor.#pull();
      if (pull === undefined) continue;
      pulls++;
      turn += this.#facing(motor) * pull;
    }
    if (pulls > 0) turn /= pulls;
    for (const motor of this.#motors) {
      turn = this.#facing(motor) * motor.#free(this.#facing(motor) * turn);
    }
    for (const motor of this.#motors) motor.#turn(this.#facing(motor) * turn);
  }

  /** Which way round a servo on this shaft is mounted: 1, or −1 across the joint. */
  #facing(motor: Servo): number {
    return motor === this ? 1 : -1;
  }

  /** Follow the trajectory: the shaft ticks from here to there, or undefined without torque. */
  #pull(): number | undefined {
    this.#nowMs += STEP_MS;
    const watchdog = this.get("busWatchdog");
    const silentMs = this.#nowMs - this.#heardMs;
    if (this.#hasTorque && watchdog > 0 && silentMs > watchdog * WATCHDOG_UNIT_MS) {
      this.#registers.set("busWatchdog", -1);
      this.#hold();
    }
    if (!this.#moves) return undefined;
    const goal = this.get("goalPosition");
    this.#trajectory = stepMotion(this.#trajectory, goal, this.#limits, STEP_MS / 1000);
    const gain = Math.max(1, this.get("positionPGain"));
    const sag = this.#surroundings.sagTicks * STANDARD_P_GAIN / gain;
    this.#sagTicks += (sag - this.#sagTicks) * STEP_MS / SAG_TIME_MS;
    return this.#shaft(this.#trajectory.position + this.#sagTicks) - this.#shaftTicks;
  }

  /** How much of a turn, in shaft ticks, nothing hard is in the way of. */
  #free(turn: number): number {
    const [low, high] = this.#surroundings.obstacleTicks;
    const wanted = this.#reported(this.#shaftTicks + turn);
    const reached = Math.max(low, Math.min(high, wanted));
    return reached === wanted ? turn : this.#shaft(reached) - this.#shaftTicks;
  }

  #turn(turn: number): void {
    const before = this.#reported(this.#shaftTicks);
    this.#shaftTicks += turn;
    this.#ticksPerS = ((this.#reported(this.#shaftTicks) - before) * 1000) / STEP_MS;
    this.#wear(this.#moves);
  }

  get #hasTorque(): boolean {
    return this.get("torqueEnable") === 1;
  }

  get #moves(): boolean {
    return this.#hasTorque && POSITION_MODES.includes(this.get("operatingMode"));
  }

  /** Current, warmth, voltage, and what is too much of them. */
  #wear(hasTorque: boolean): void {
    const currentMa = hasTorque ? this.#currentMa() : 0;
    const { ambientC, supplyV } = this.#surroundings;
    this.#registers.set("presentCurrent", Math.round(currentMa / CURRENT_UNIT_MA));
    const share = currentMa / this.#model.stallCurrentMa;
    this.#temperatureC = stepTemperatureC(this.#temperatureC, share, ambientC, STEP_MS / 1000);
    // Only what the motor cannot keep up counts: a gripper that holds with little current may do so.
    const isOverload = Math.abs(currentMa) >= OVERLOAD_SHARE * this.#model.stallCurrentMa;
    this.#overloadMs = isOverload ? this.#overloadMs + STEP_MS : 0;
    let errors = 0;
    if (this.#overloadMs > OVERLOAD_MS) errors |= HARDWARE_ERROR.overload;
    if (this.#temperatureC > this.get("temperatureLimit")) errors |= HARDWARE_ERROR.overheating;
    const volts = Math.round(supplyV * 10);
    if (volts < this.get("minVoltageLimit") || volts > this.get("maxVoltageLimit")) {
      errors |= HARDWARE_ERROR.inputVoltage;
    }
    if (errors !== 0) this.raiseHardwareError(errors);
  }

  #currentMa(): number {
    const fastest = (this.#model.noLoadRpm * TICKS_PER_TURN) / 60;
    const wantedMa = motorCurrentMa({
      speedShare: this.#ticksPerS / fastest,
      blockedTicks: this.#trajectory.position - this.#reported(this.#shaftTicks),
      positionPGain: this.get("positionPGain"),
    }, this.#surroundings.loadMa);
    const limitMa = this.#currentLimitMa();
    return Math.max(-limitMa, Math.min(limitMa, wantedMa));
  }

  #currentLimitMa(): number {
    const name = this.get("operatingMode") === CURRENT_POSITION_MODE
      ? "goalCurrent"
      : "currentLimit";
    return Math.min(Math.abs(this.get(name)) * CURRENT_UNIT_MA, this.#model.stallCurrentMa);
  }

  /** Put what the servo measures into its registers. */
  #present(): void {
    const toUnits = (ticksPerS: number) =>
      Math.round((ticksPerS * 60) / TICKS_PER_TURN / VELOCITY_UNIT_RPM);
    const velocity = toUnits(this.#ticksPerS);
    const position = this.#reported(this.#shaftTicks);
    const registers = this.#registers;
    registers.set("presentPosition", Math.round(position));
    registers.set("presentVelocity", velocity);
    registers.set("positionTrajectory", Math.round(this.#trajectory.position));
    registers.set("velocityTrajectory", toUnits(this.#trajectory.velocity));
    registers.set("moving", Number(Math.abs(velocity) > this.get("movingThreshold")));
    registers.set("realtimeTick", Math.floor(this.#nowMs) & 0x7fff);
    registers.set("presentTemperature", clampByte(this.#temperatureC));
    registers.set("presentInputVoltage", Math.round(this.#surroundings.supplyV * 10));
  }

  /** Ticks that the servo reports for a position of its shaft. */
  #reported(shaftTicks: number): number {
    const isReversed = (this.get("driveMode") & 0x01) === 1;
    return (isReversed ? TICKS_PER_TURN - shaftTicks : shaftTicks) + this.#homingOffset();
  }

  #shaft(reported: number): number {
    const ticks = reported - this.#homingOffset();
    return (this.get("driveMode") & 0x01) === 1 ? TICKS_PER_TURN - ticks : ticks;
  }

  #homingOffset(): number {
    const offset = this.get("homingOffset");
    const isIgnored = this.get("operatingMode") === POSITION_MODE &&
      Math.abs(offset) > MAX_POSITION_MODE_OFFSET;
    return isIgnored ? 0 : offset;
  }
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}

function clampByte(value: number): number {
  return Math.max(0, Math.min(255, Math.round(value)));
}
