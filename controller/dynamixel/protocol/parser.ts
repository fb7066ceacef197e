/**
 * Finds packets in a stream of bytes, however it is cut up and whatever lies between them.
 *
 * Three things can go wrong with a packet: its ID or length cannot be true, its checksum does not
 * fit, or it breaks off and the next one begins inside it. Each is counted, and the search goes on one
 * byte behind the header that led astray, because the bytes after it may hold the next packet.
 * Memory is two packets of the greatest length, whatever comes.
 *
 * @module
 */

import { crc16 } from "./crc16.ts";
import { BROADCAST_ID, isPacketId, MAX_LENGTH, PREFIX_BYTES, STATUS, unstuff } from "./packet.ts";

/** An instruction packet without its framing. */
export interface InstructionPacket {
  /** Servo that is meant, or the broadcast ID. */
  readonly id: number;
  /** Instruction byte. */
  readonly instruction: number;
  /** Parameters, stuffing removed. */
  readonly params: Uint8Array;
}

/** A status packet without its framing. */
export interface StatusPacket {
  /** Servo that answers; the broadcast ID for the joint answer to a fast read. */
  readonly id: number;
  /** Error byte: bit 7 the hardware alert, bits 0–6 the error number. */
  readonly error: number;
  /** Parameters, stuffing removed; those of a fast read are never stuffed. */
  readonly params: Uint8Array;
}

/** What a parser has met so far. */
export interface ParserCounts {
  /** Packets delivered. */
  readonly packets: number;
  /** Headers with an impossible ID or length, and packets that broke off. */
  readonly malformed: number;
  /** Packets whose checksum did not fit. */
  readonly corrupt: number;
  /** Whole packets of the other kind: an echo of instructions, or answers overheard. */
  readonly foreign: number;
  /** Bytes that belonged to no packet. */
  readonly skippedBytes: number;
}

/** Shortest length of a status: instruction, error byte, checksum. */
const MIN_STATUS_LENGTH = 4;
/** Shortest length of an instruction: itself and the checksum. */
const MIN_INSTRUCTION_LENGTH = 3;

/** Where the bytes of one kind of packet become packets. */
export abstract class PacketParser<Packet> {
  readonly #bytes = new Uint8Array(2 * (PREFIX_BYTES + MAX_LENGTH));
  #start = 0;
  #end = 0;
  #counts = { packets: 0, malformed: 0, corrupt: 0, foreign: 0, skippedBytes: 0 };

  /** What has been met since the parser was made. */
  get counts(): ParserCounts {
    return { ...this.#counts };
  }

  /** Bytes held because their packet is not complete; at most one packet's worth. */
  get pendingBytes(): number {
    return this.#end - this.#start;
  }

  /** Forget an unfinished packet, as after a deadline. */
  reset(): void {
    this.#counts.skippedBytes += this.pendingBytes;
    this.#start = this.#end = 0;
  }

  /**
   * Take in what came.
   *
   * @param chunk Any number of bytes.
   * @returns The packets that became complete, in their order.
   */
  push(chunk: Uint8Array): Packet[] {
    const packets: Packet[] = [];
    for (let offset = 0; offset < chunk.length;) {
      this.#compact();
      const taken = chunk.subarray(offset, offset + this.#bytes.length - this.#end);
      this.#bytes.set(taken, this.#end);
      this.#end += taken.length;
      offset += taken.length;
      this.#drain(packets);
    }
    return packets;
  }

  /** Make a packet of a body whose framing was right, or undefined when it is of the other kind. */
  protected abstract accept(id: number, body: Uint8Array): Packet | undefined;

  #drain(packets: Packet[]): void {
    while (this.#findHeader()) {
      const bytes = this.#bytes.subarray(this.#start, this.#end);
      if (bytes.length < PREFIX_BYTES + 1) return;
      const [id, length, instruction] = [bytes[4], bytes[5] | (bytes[6] << 8), bytes[7]];
      const isStatus = instruction === STATUS;
      const minLength = isStatus ? MIN_STATUS_LENGTH : MIN_INSTRUCTION_LENGTH;
      if (!isPacketId(id) || length < minLength || length > MAX_LENGTH) {
        this.#skip("malformed");
        continue;
      }
      const total = PREFIX_BYTES + length;
      const isFast = isStatus && id === BROADCAST_ID;
      if (!isFast && holdsHeader(bytes, PREFIX_BYTES, Math.min(bytes.length, total - 2))) {
        this.#skip("malformed");
        continue;
      }
      if (bytes.length < total) return;
      if (crc16(bytes, 0, total - 2) !== (bytes[total - 2] | (bytes[total - 1] << 8))) {
        this.#skip("corrupt");
        continue;
      }
      // Copied, because the buffer is used again for what comes next.
      const body = bytes.slice(PREFIX_BYTES, total - 2);
      this.#start += total;
      const packet = this.accept(id, isFast ? body : unstuff(body));
      if (packet === undefined) this.#counts.foreign++;
      else {
        this.#counts.packets++;
        packets.push(packet);
      }
    }
  }

  /** Drop what cannot begin a header; true when a whole one stands at the start. */
  #findHeader(): boolean {
    for (; this.#start < this.#end; this.#start++, this.#counts.skippedBytes++) {
      const bytes = this.#bytes.subarray(this.#start, this.#end);
      if (bytes[0] !== 0xff) continue;
      if (bytes.length > 1 && bytes[1] !== 0xff) continue;
      if (bytes.length > 2 && bytes[2] !== 0xfd) continue;
      if (bytes.length > 3 && bytes[3] !== 0x00) continue;
      return bytes.length > 3;
    }
    return false;
  }

  #skip(reason: "malformed" | "corrupt"): void {
    this.#counts[reason]++;
    this.#counts.skippedBytes++;
    this.#start++;
  }

  /** Move what is left to the front, so that there is room for a whole packet behind it. */
  #compact(): void {
    this.#bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }
}

/** Finds status packets: the controller's end of the line. Instructions, such as its own echo, pass. */
export class StatusParser extends PacketParser<StatusPacket> {
  /**
   * Make a packet of a framed body.
   *
   * @param id The packet's ID.
   * @param body Instruction and parameters.
   * @returns The packet, or undefined when it is an instruction.
   */
  protected override accept(id: number, body: Uint8Array): StatusPacket | undefined {
    return body[0] === STATUS ? { id, error: body[1], params: body.subarray(2) } : undefined;
  }
}

/** Finds instruction packets: the servos' end of the line. Answers of other servos pass. */
export class InstructionParser extends PacketParser<InstructionPacket> {
  /**
   * Make a packet of a framed body.
   *
   * @param id The packet's ID.
   * @param body Instruction and parameters.
   * @returns The packet, or undefined when it is a status.
   */
  protected override accept(id: number, body: Uint8Array): InstructionPacket | undefined {
    if (body[0] === STATUS) return undefined;
    return { id, instruction: body[0], params: body.subarray(1) };
  }
}

/** Whether FF FF FD lies in a range without FD behind it: another packet begins there. */
function holdsHeader(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i + 3 < end; i++) {
    const isPattern = bytes[i] === 0xff && bytes[i + 1] === 0xff && bytes[i + 2] === 0xfd;
    if (isPattern && bytes[i + 3] !== 0xfd) return true;
  }
  return false;
}
