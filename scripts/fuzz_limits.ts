/**
 * `deno task fuzz-limits`: sends random commands, NaN and infinity among them, through the safety
 * filter, checks what comes out with arithmetic of its own, and reports it.
 *
 * @module
 */

import { parseCommand } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import { textTable } from "../common/cli/text_table.ts";
import { yieldToEventLoop } from "../common/yield_to_event_loop.ts";
import { CLAMP_KINDS } from "../controller/safety/clamp_counts.ts";
import { fuzzCommandFilter, type FuzzFindings } from "../controller/safety/fuzz.ts";
import { loadLimits } from "../controller/safety/limits.ts";

/** Cycles that the arms are moved in, to which the commands are shared out: names and lengths in s. */
const CYCLES = [["50 Hz", 0.02], ["100 Hz", 0.01], ["200 Hz", 0.005]] as const;

/** Commands of one go, after which a signal can stop the program: about half a second. */
const GO_COMMANDS = 20_000;

const COMMAND = {
  name: "deno task fuzz-limits",
  summary:
    "Send random commands, NaN and infinity among them, through the safety filter and count " +
    "what comes out beyond the limits: nothing must.",
  preset: "demo",
  fields: ["seed"],
  flags: {
    commands: {
      kind: "integer",
      default: 1_000_000,
      minimum: CYCLES.length,
      unit: "commands",
      description: "Commands in all, shared out to cycles at 50, 100 and 200 Hz.",
    },
    limits: {
      kind: "string",
      default: "",
      description: "JSON file with the safety limits; without it the defaults.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

/** Sums of several goes. */
class Tally {
  commands = 0;
  notFinite = 0;
  clampedCommands = 0;
  violations = 0;
  smallestSlackM = Infinity;
  readonly byKind = new Map<string, number>();
  readonly examples: string[] = [];

  add(findings: FuzzFindings): void {
    this.commands += findings.commands;
    this.notFinite += findings.notFinite;
    this.clampedCommands += findings.counts.clampedCommands;
    for (const count of Object.values(findings.violations)) this.violations += count;
    this.smallestSlackM = Math.min(this.smallestSlackM, findings.smallestSlackM);
    for (const [kind, count] of Object.entries(findings.counts.byKind)) {
      this.byKind.set(kind, (this.byKind.get(kind) ?? 0) + count);
    }
    this.examples.push(...findings.examples);
  }

  row(name: string): string[] {
    return [
      name,
      String(this.commands),
      String(this.notFinite),
      String(this.clampedCommands),
      String(this.violations),
      (1000 * this.smallestSlackM).toFixed(2),
    ];
  }
}

async function main(signal: AbortSignal): Promise<void> {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { flags, config: { seed } } = parsed;
  const { limits } = await loadLimits(flags.limits === "" ? null : flags.limits);
  const startMs = performance.now();
  const tallies: [string, Tally][] = [];
  let go = 0;
  for (const [i, [name, cycleS]] of CYCLES.entries()) {
    const tally = new Tally();
    const share = Math.floor(flags.commands / CYCLES.length);
    let left = i === 0 ? flags.commands - share * (CYCLES.length - 1) : share;
    while (left > 0) {
      await yieldToEventLoop();
      signal.throwIfAborted();
      const count = Math.min(left, GO_COMMANDS);
      tally.add(fuzzCommandFilter({ count, seed: seed + go++, cycleS, limits }));
      left -= count;
    }
    tallies.push([name, tally]);
  }
  const header = ["cycles", "commands", "not finite", "clamped", "violations", "least slack mm"];
  console.log(textTable(header, tallies.map(([name, tally]) => tally.row(name))));
  const ofKind = (kind: string) => tallies.map(([, tally]) => String(tally.byKind.get(kind) ?? 0));
  console.log("");
  console.log(
    textTable(
      ["clamps", ...tallies.map(([name]) => name)],
      CLAMP_KINDS.map((kind) => [kind, ...ofKind(kind)]),
    ),
  );
  const sum = (field: "commands" | "violations") =>
    tallies.reduce((total, [, tally]) => total + tally[field], 0);
  const seconds = (performance.now() - startMs) / 1000;
  console.log(
    `\n${sum("commands")} commands, ${sum("violations")} violations, ${seconds.toFixed(1)} s`,
  );
  if (sum("violations") === 0) return;
  for (const [name, { examples }] of tallies) {
    for (const example of examples.slice(0, 10)) console.error(`${name}: ${example}`);
  }
  throw new Error(`The safety filter let ${sum("violations")} numbers beyond their limits`);
}

if (import.meta.main) await runMain(main);
