/**
 * Reads the servos' health in small pieces between cycles: three servos and a few neighbouring items at
 * a time, and only where the piece fits before the next cycle.
 *
 * @module
 */

import { sharedNowMs } from "../../threads/clock.ts";
import { SharedRecord, type SharedRecordMemory } from "../../threads/shared_record.ts";
import { answerTimeoutMs } from "../builtin/line_timing.ts";
import { BusError, type DynamixelBus, type ReadLimits, type ServoReading } from "../bus.ts";
import { CONTROL_TABLE, type ControlItem, decodeItem } from "../control_table.ts";
import { GOAL_IDS, HEALTH, SERVO_IDS } from "./bus_memory.ts";
import type { SilenceWatch } from "./silence_watch.ts";

/** Items that one piece reads, and how often, in ms. */
interface Stretch {
  readonly items: readonly (readonly [place: number, item: ControlItem])[];
  readonly everyMs: number;
}

interface Piece {
  readonly stretch: Stretch;
  readonly ids: readonly number[];
  readonly address: number;
  readonly bytes: number;
  readAtMs: number;
}

const { torqueEnable, hardwareErrorStatus, busWatchdog } = CONTROL_TABLE;
const { presentInputVoltage, presentTemperature } = CONTROL_TABLE;
const STRETCHES: readonly Stretch[] = [
  {
    items: [[HEALTH.torque, torqueEnable], [HEALTH.hardwareError, hardwareErrorStatus]],
    everyMs: 100,
  },
  { items: [[HEALTH.watchdog, busWatchdog]], everyMs: 800 },
  {
    items: [[HEALTH.voltage, presentInputVoltage], [HEALTH.temperatureC, presentTemperature]],
    everyMs: 800,
  },
];
const GROUP_SIZE = 3;
/** A piece so old is read even if the next cycle has to wait for it: health once a second is promised. */
const OVERDUE_MS = 1_000;
/** Pieces between two cycles, at most. */
const MAX_PIECES = 3;
/** Time before a deadline that is left alone, in ms. */
const GUARD_MS = 0.3;
/** Allowance for adapter and system in ms: where less is left, a piece does not fit. */
const MIN_LATENCY_MS = 0.7;
const MAX_LATENCY_MS = 4;
/** Longest wait of a driver for the line to fall silent after a fault, in ms. */
const SETTLE_MS = 4;
/** Bytes of a sync read beside its IDs. */
const SYNC_READ_BYTES = 14;

/** What {@link HealthReader} works with. */
export interface HealthReaderOptions {
  /** Where the health goes. */
  readonly memory: SharedRecordMemory;
  /** Bits a second. */
  readonly baudRate: number;
  /** The largest Return_Delay_Time among the servos, ms. */
  readonly returnDelayMs: number;
  /** Told who has answered; says who is worth asking. */
  readonly silence: SilenceWatch;
}

/** The health of one bus's servos. */
export class HealthReader {
  readonly #options: HealthReaderOptions;
  readonly #record: SharedRecord;
  readonly #values = new Float64Array(HEALTH.length).fill(NaN);
  readonly #pieces: readonly Piece[];
  #alerts = 0;

  /** Nothing has been read yet. @param options What it works with. @param nowMs The time. */
  constructor(options: HealthReaderOptions, nowMs: number) {
    this.#options = options;
    this.#pieces = STRETCHES.flatMap((stretch) => piecesOf(stretch, nowMs));
    this.#record = new SharedRecord(options.memory);
  }

  /**
   * Servos whose answers carry the hardware alert. What is wrong with one that had none is read next.
   *
   * @param alerts Bit `i` for servo `i` of `GOAL_IDS`.
   */
  noticeAlerts(alerts: number): void {
    const fresh = alerts & ~this.#alerts;
    this.#alerts = alerts;
    if (fresh === 0) return;
    const ids = GOAL_IDS.filter((_, i) => (fresh & (1 << i)) !== 0);
    for (const piece of this.#pieces) {
      if (piece.stretch === STRETCHES[0] && ids.some((id) => piece.ids.includes(id))) {
        piece.readAtMs = -Infinity;
      }
    }
  }

  /**
   * Read what is due and fits.
   *
   * @param bus An open bus.
   * @param untilMs The next deadline, in ms of `sharedNowMs`.
   * @param hasStragglers Whether answers to the exchange before may still come.
   * @throws {BusError} The port is gone.
   */
  read(bus: DynamixelBus, untilMs: number, hasStragglers: boolean): void {
    let settleMs = hasStragglers ? SETTLE_MS : 0;
    for (let pieces = 0; pieces < MAX_PIECES; pieces++) {
      const nowMs = sharedNowMs();
      const piece = this.#mostDue(nowMs);
      if (piece === undefined) return;
      const { silence, baudRate, returnDelayMs } = this.#options;
      const ids = piece.ids.filter((id) => silence.isToBeAsked(id, nowMs));
      const line = { baudRate, returnDelayMs, latencyMs: 0 };
      const lineMs = answerTimeoutMs(line, SYNC_READ_BYTES + ids.length, ids.length, piece.bytes);
      const spareMs = untilMs - nowMs - GUARD_MS - settleMs;
      const fits = lineMs + MIN_LATENCY_MS <= spareMs;
      const isOverdue = nowMs - piece.readAtMs > OVERDUE_MS;
      if (!fits && !isOverdue) return;
      // What costs a cycle anyway shall at least find its answer.
      const latencyMs = fits ? Math.min(MAX_LATENCY_MS, spareMs - lineMs) : MAX_LATENCY_MS;
      piece.readAtMs = nowMs;
      const limits = { latencyMs, budgetMs: Math.max(1, spareMs) };
      const readings = readPiece(bus, piece, ids, limits);
      this.#take(piece, readings);
      settleMs = readings.some(({ fault }) => fault !== undefined) ? SETTLE_MS : 0;
      if (!fits) return;
    }
  }

  #mostDue(nowMs: number): Piece | undefined {
    let most: Piece | undefined;
    let mostShare = 1;
    for (const piece of this.#pieces) {
      const share = (nowMs - piece.readAtMs) / piece.stretch.everyMs;
      if (share < mostShare) continue;
      most = piece;
      mostShare = share;
    }
    return most;
  }

  #take(piece: Piece, readings: readonly ServoReading[]): void {
    const nowMs = sharedNowMs();
    const values = this.#values;
    for (const { id, data } of readings) {
      this.#options.silence.report(id, data !== undefined, nowMs);
      if (data === undefined) continue;
      const i = SERVO_IDS.findIndex((servoId) => servoId === id);
      for (const [place, item] of piece.stretch.items) {
        values[place + i] = decodeItem(item, data, item.address - piece.address);
      }
    }
    values[HEALTH.timeMs] = nowMs;
    this.#record.write(values);
  }
}

function piecesOf(stretch: Stretch, nowMs: number): Piece[] {
  const [, first] = stretch.items[0];
  const [, last] = stretch.items[stretch.items.length - 1];
  const address = first.address;
  const bytes = last.address + last.bytes - address;
  const groups = Math.ceil(SERVO_IDS.length / GROUP_SIZE);
  return Array.from({ length: groups }, (_, group) => {
    const ids = SERVO_IDS.slice(group * GROUP_SIZE, (group + 1) * GROUP_SIZE);
    return { stretch, ids, address, bytes, readAtMs: nowMs - stretch.everyMs };
  });
}

function readPiece(
  bus: DynamixelBus,
  { address, bytes }: Piece,
  ids: readonly number[],
  limits: ReadLimits,
): readonly ServoReading[] {
  try {
    return bus.syncRead(address, bytes, ids, limits);
  } catch (error) {
    if (!(error instanceof BusError) || error.fault === "device") throw error;
    return [];
  }
}
