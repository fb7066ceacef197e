/**
 * What experiments leave behind: one JSON object a line, appended as it comes, so that hours of work
 * can be stopped and gone on with.
 * @module
 */

import { dirname } from "node:path";
import { z } from "zod";

/** Which run a line is of. */
export interface RunKey {
  /** Name of the experiment. */
  readonly experiment: string;
  /** Name of the variant, or of a program of others. */
  readonly variant: string;
  /** Seed of the run. */
  readonly seed: number;
}

/** A run has begun. */
export interface BeginLine extends RunKey {
  /** Tells the kinds apart. */
  readonly kind: "begin";
  /** What differs from the `demo` preset. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

/** A policy update. */
export interface UpdateLine extends RunKey {
  /** Tells the kinds apart. */
  readonly kind: "update";
  /** Its number, from 1. */
  readonly update: number;
  /** Seconds since the start of the run's programs. */
  readonly wallSeconds: number;
  /** Numbers of the learner's record; null where one could not be told. */
  readonly metrics: Readonly<Record<string, number | null>>;
}

/** Training is over. */
export interface TrainedLine extends RunKey {
  /** Tells the kinds apart. */
  readonly kind: "trained";
  /** Policy updates. */
  readonly updates: number;
  /** Control steps trained on. */
  readonly controlSteps: number;
  /** Seconds since the start of the run's programs. */
  readonly wallSeconds: number;
  /** The controller's summary; absent for programs of others. */
  readonly controller?: Readonly<Record<string, unknown>>;
}

/** A checkpoint was measured on held-out episodes. */
export interface EvaluationLine extends RunKey {
  /** Tells the kinds apart. */
  readonly kind: "evaluation";
  /** Updates behind the checkpoint; 0 is where the run began. */
  readonly update: number;
  /** Control steps that it was trained on. */
  readonly controlSteps: number;
  /** Seconds of training until then. */
  readonly wallSeconds: number;
  /** Held-out episodes. */
  readonly episodes: number;
  /** Share of them that succeeded, 0–1. */
  readonly successRate: number;
  /** Mean sum of rewards of an episode. */
  readonly meanReward: number;
  /** Mean control steps of an episode. */
  readonly meanSteps: number;
}

/** Any line. */
export type ResultLine = BeginLine | UpdateLine | TrainedLine | EvaluationLine;

const runFields = {
  experiment: z.string().min(1),
  variant: z.string().min(1),
  seed: z.int().min(0),
};
const seconds = z.number().min(0);
const count = z.int().min(0);
const share = z.number().min(0).max(1);

const beginSchema = z.object({
  kind: z.literal("begin"),
  ...runFields,
  settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});

const updateSchema = z.object({
  kind: z.literal("update"),
  ...runFields,
  update: z.int().min(1),
  wallSeconds: seconds,
  metrics: z.record(z.string(), z.number().nullable()),
});

const trainedSchema = z.object({
  kind: z.literal("trained"),
  ...runFields,
  updates: count,
  controlSteps: count,
  wallSeconds: seconds,
  controller: z.record(z.string(), z.unknown()).optional(),
});

const evaluationSchema = z.object({
  kind: z.literal("evaluation"),
  ...runFields,
  update: count,
  controlSteps: count,
  wallSeconds: seconds,
  episodes: z.int().min(1),
  successRate: share,
  meanReward: z.number(),
  meanSteps: z.number(),
});

const lineSchema: z.ZodType<ResultLine> = z.discriminatedUnion("kind", [
  beginSchema,
  updateSchema,
  trainedSchema,
  evaluationSchema,
]);

/** All that is known of one run. */
export interface RunResults extends RunKey {
  /** What differs from the `demo` preset; undefined for programs of others. */
  readonly settings: BeginLine["settings"] | undefined;
  /** By growing update, each once. */
  readonly updates: readonly UpdateLine[];
  /** By growing update, each once. */
  readonly evaluations: readonly EvaluationLine[];
  /** Undefined while it goes on. */
  readonly trained: TrainedLine | undefined;
}

/**
 * Parse result lines.
 *
 * @param text One JSON object a line; empty lines are passed over, and so is a last one that was cut
 *   short when the program was killed.
 * @param path The file, for errors.
 * @throws {SyntaxError} If another line is no result line; the sentence says which.
 */
export function parseResultLines(text: string, path: string): ResultLine[] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => {
    if (line.trim() === "") return [];
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      if (i === lines.length - 1) return [];
      throw new SyntaxError(
        `Cannot read line ${i + 1} of ${path}: it is not JSON; remove the line`,
        { cause },
      );
    }
    const parsed = lineSchema.safeParse(value);
    if (parsed.success) return [parsed.data];
    const [issue] = parsed.error.issues;
    throw new SyntaxError(
      `Cannot read line ${i + 1} of ${path}: ${issue.path.join(".") || "the line"} is wrong ` +
        `(${issue.message}); expected what deno task bench learn writes`,
    );
  });
}

/**
 * Sort lines into runs, in the order in which they first appear. Where something is said twice the
 * later line counts; a new beginning forgets what its run had before.
 */
export function groupRuns(lines: readonly ResultLine[]): RunResults[] {
  const runs = new Map<string, ResultLine[]>();
  for (const line of lines) {
    const key = keyOf(line);
    if (line.kind === "begin" || !runs.has(key)) runs.set(key, []);
    runs.get(key)!.push(line);
  }
  return [...runs.values()].map((own) => {
    const { experiment, variant, seed } = own[0];
    const begin = own.find((line) => line.kind === "begin");
    return {
      ...{ experiment, variant, seed },
      settings: begin?.settings,
      updates: byUpdate(own.filter((line) => line.kind === "update")),
      evaluations: byUpdate(own.filter((line) => line.kind === "evaluation")),
      trained: own.findLast((line) => line.kind === "trained"),
    };
  });
}

/** A key that tells runs apart. */
export function keyOf({ experiment, variant, seed }: RunKey): string {
  return `${experiment}-${variant}-seed-${seed}`;
}

function byUpdate<T extends { readonly update: number }>(lines: readonly T[]): T[] {
  const latest = new Map(lines.map((line) => [line.update, line]));
  return [...latest.values()].sort((a, b) => a.update - b.update);
}

/** A file of result lines. */
export class ResultFile {
  /** Where it lies. */
  readonly path: string;
  #isWhole = false;

  /**
   * Nothing is read or written yet.
   * @param path Its folder is made when the first line is written.
   */
  constructor(path: string) {
    this.path = path;
  }

  /**
   * Read every run; none if there is no file.
   * @throws {SyntaxError} As {@link parseResultLines} does.
   */
  async read(): Promise<RunResults[]> {
    let text: string;
    try {
      text = await Deno.readTextFile(this.path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
    return groupRuns(parseResultLines(text, this.path));
  }

  /** Append a line. It is there when this returns, whatever happens then. */
  async append(line: ResultLine): Promise<void> {
    const text = `${JSON.stringify(lineSchema.parse(line))}\n`;
    await Deno.mkdir(dirname(this.path), { recursive: true });
    if (!this.#isWhole) await this.#dropHalfLine();
    this.#isWhole = true;
    await Deno.writeTextFile(this.path, text, { append: true });
  }

  /** A killed program may have left half a line. */
  async #dropHalfLine(): Promise<void> {
    try {
      const bytes = await Deno.readFile(this.path);
      const whole = bytes.lastIndexOf("\n".charCodeAt(0)) + 1;
      if (whole < bytes.length) await Deno.truncate(this.path, whole);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
