/**
 * Packets of Dynamixel Protocol 2.0, as ROBOTIS' e-manual describes them:
 *
 *     FF FF FD 00 | ID | length (2) | instruction | parameters … | CRC (2)
 *
 * All numbers are little-endian. The length counts from the instruction to the checksum. Where the
 * instruction and its parameters contain FF FF FD, another FD is stuffed in behind it, so that a
 * header is never seen inside a packet; the length and the checksum cover the stuffed bytes. A status
 * packet has the instruction 0x55, and its first parameter is the error byte.
 *
 * @module
 */

import { crc16 } from "./crc16.ts";

/** ID that every servo obeys. */
export const BROADCAST_ID = 0xfe;

/** Highest ID that a servo can have. */
export const MAX_SERVO_ID = 252;

/** The instruction byte of a status packet. */
export const STATUS = 0x55;

/** Bytes before the instruction: header, ID and length. */
export const PREFIX_BYTES = 7;

/** Largest length field that is sent or believed; ROBOTIS' library has the same bound. */
export const MAX_LENGTH = 1024;

/** Restores a servo's memory, ID and baud rate among it. Never sent from here. */
const FACTORY_RESET = 0x06;

/**
 * Put FD behind every FF FF FD.
 *
 * @param body Instruction and parameters.
 * @returns The bytes to send; `body` itself where nothing had to be added.
 */
export function stuff(body: Uint8Array): Uint8Array {
  const added = patternEnds(body);
  if (added.length === 0) return body;
  const stuffed = new Uint8Array(body.length + added.length);
  let from = 0;
  added.forEach((end, i) => {
    stuffed.set(body.subarray(from, end), from + i);
    stuffed[end + i] = 0xfd;
    from = end;
  });
  stuffed.set(body.subarray(from), from + added.length);
  return stuffed;
}

/**
 * Take away the FD behind every FF FF FD.
 *
 * @param body Instruction and parameters as received.
 * @returns The bytes meant; `body` itself where nothing was stuffed.
 */
export function unstuff(body: Uint8Array): Uint8Array {
  if (patternEnds(body).length === 0) return body;
  const plain = new Uint8Array(body.length);
  let length = 0;
  for (let i = 0; i < body.length; i++) {
    plain[length++] = body[i];
    const isPattern = i >= 2 && body[i] === 0xfd && body[i - 1] === 0xff && body[i - 2] === 0xff;
    if (isPattern && body[i + 1] === 0xfd) i++;
  }
  return plain.slice(0, length);
}

/**
 * An instruction packet.
 *
 * @param id Servo, 0–252, or {@link BROADCAST_ID}.
 * @param instruction Instruction byte.
 * @param params Parameters, before stuffing.
 * @returns The bytes of the packet.
 * @throws {RangeError} The ID, the instruction or the length is impossible, or it is a factory reset.
 */
export function encodeInstruction(
  id: number,
  instruction: number,
  params: Uint8Array = new Uint8Array(),
): Uint8Array {
  if (instruction === FACTORY_RESET) {
    throw new RangeError(
      `Refused to encode a factory reset for ID ${id}: it would erase limits and calibration; use ` +
        "ROBOTIS' own tool to reset a servo",
    );
  }
  if (!isByte(instruction)) {
    throw new RangeError(`Cannot encode a packet: instruction ${instruction}, expected 0–255`);
  }
  const body = new Uint8Array(1 + params.length);
  body[0] = instruction;
  body.set(params, 1);
  return encodeBody(id, stuff(body));
}

/**
 * A status packet.
 *
 * @param id Servo that answers, 0–252.
 * @param error Error byte: bit 7 the hardware alert, bits 0–6 the error number.
 * @param params Parameters, before stuffing.
 * @returns The bytes of the packet.
 * @throws {RangeError} The ID, the error byte or the length is impossible.
 */
export function encodeStatus(
  id: number,
  error: number,
  params: Uint8Array = new Uint8Array(),
): Uint8Array {
  if (!isByte(error)) {
    throw new RangeError(`Cannot encode a packet: error byte ${error}, expected 0–255`);
  }
  const body = new Uint8Array(2 + params.length);
  body[0] = STATUS;
  body[1] = error;
  body.set(params, 2);
  return encodeBody(id, stuff(body));
}

/** Header, length and checksum around a body that is already stuffed. */
function encodeBody(id: number, body: Uint8Array): Uint8Array {
  if (!isPacketId(id)) {
    throw new RangeError(
      `Cannot encode a packet: ID ${id}, expected 0–${MAX_SERVO_ID} or ${BROADCAST_ID} for everybody`,
    );
  }
  const length = body.length + 2;
  if (length > MAX_LENGTH) {
    throw new RangeError(
      `Cannot encode a packet: length ${length}, at most ${MAX_LENGTH}; send it in several packets`,
    );
  }
  const packet = new Uint8Array(PREFIX_BYTES + length);
  packet.set([0xff, 0xff, 0xfd, 0x00, id, length & 0xff, length >> 8]);
  packet.set(body, PREFIX_BYTES);
  const crc = crc16(packet, 0, packet.length - 2);
  packet[packet.length - 2] = crc & 0xff;
  packet[packet.length - 1] = crc >> 8;
  return packet;
}

/**
 * Whether a packet may carry this ID.
 *
 * @param id A number.
 * @returns True for a servo's ID and for {@link BROADCAST_ID}.
 */
export function isPacketId(id: number): boolean {
  return Number.isInteger(id) && ((id >= 0 && id <= MAX_SERVO_ID) || id === BROADCAST_ID);
}

function isByte(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xff;
}

/** Index behind every FF FF FD. */
function patternEnds(bytes: Uint8Array): number[] {
  const ends: number[] = [];
  for (let i = 2; i < bytes.length; i++) {
    if (bytes[i] === 0xfd && bytes[i - 1] === 0xff && bytes[i - 2] === 0xff) ends.push(i + 1);
  }
  return ends;
}
