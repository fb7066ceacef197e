/**
 * `deno task robot check`: looks at every servo, and touches none.
 *
 * @module
 */

import { consoleLogger } from "../../common/cli/logger.ts";
import { type ArmCheck, armTable, checkArm } from "../../controller/arms/arm_check.ts";
import { COMMON_FLAGS, readRequest, type ToolContext } from "./flags.ts";
import { describeMissing, openIdleArms } from "./idle_arms.ts";

/** A check as `--json` prints it. */
export interface CheckReport extends Pick<ArmCheck, "arm" | "port" | "isFit" | "problems"> {
  /** The nine servos; `values` is null for one that does not answer. */
  readonly servos: readonly {
    readonly id: number;
    readonly name: string;
    readonly values: Readonly<Record<string, number>> | null;
  }[];
}

/**
 * A check as plain data.
 *
 * @param check Of an arm.
 * @returns What JSON can carry of it.
 */
export function checkReport({ arm, port, isFit, problems, rows }: ArmCheck): CheckReport {
  const servos = rows.map(({ layout: { id, name }, values }) => ({ id, name, values }));
  return { arm, port, isFit, problems, servos };
}

/**
 * What refuses arms, in one clause; the tables have the rest.
 *
 * @param checks Of arms.
 * @returns The first refusal, and how many there are; empty when all are fit.
 */
export function describeRefusals(checks: readonly ArmCheck[]): string {
  return firstOf(
    checks.flatMap(({ problems }) => problems)
      .filter(({ severity }) => severity === "refuse").map(({ sentence }) => sentence),
  );
}

/**
 * Many sentences as one, where all of them have been shown before.
 *
 * @param sentences Any number.
 * @returns The first one, and how many more there are; empty for none.
 */
export function firstOf(sentences: readonly string[]): string {
  if (sentences.length <= 1) return sentences[0] ?? "";
  return `${sentences[0]}; and ${sentences.length - 1} more, see above`;
}

const COMMAND = {
  name: "check",
  summary: "Look at every servo of both arms and print what is wrong. No servo is touched. Ends " +
    "with 0 when both arms are fit, else with 1.",
  flags: COMMON_FLAGS,
} as const;

/**
 * Run the subcommand.
 *
 * @param args The arguments behind its name.
 * @param context The program.
 * @throws {Error} An arm is missing or refused; everything has been printed by then.
 */
export async function runCheck(args: readonly string[], context: ToolContext): Promise<void> {
  const request = await readRequest(COMMAND, args, context);
  if (request === null) return;
  const { print, signal } = context;
  const logger = consoleLogger({ name: "robot", level: "warn" });
  await using arms = await openIdleArms(request.settings, { logger });
  const checks = await Promise.all([...arms.buses].map(([arm, bus]) => checkArm(bus, arm)));
  signal.throwIfAborted();
  if (!request.flags.json) { for (const check of checks) print(armTable(check) + "\n"); }
  const missing = describeMissing(arms.missing);
  if (request.flags.json) {
    print(
      JSON.stringify({ arms: checks.map(checkReport), missing: Object.fromEntries(arms.missing) }),
    );
  }
  const refusals = describeRefusals(checks);
  const problems = [missing, refusals].filter((text) => text !== "").join("; ");
  if (problems !== "") throw new Error(`The arms cannot be driven: ${problems}`);
  if (!request.flags.json) print("Both arms are fit.");
}
