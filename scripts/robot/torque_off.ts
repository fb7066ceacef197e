/**
 * `deno task robot torque-off`: lets both arms go, whatever is wrong with them.
 *
 * @module
 */

import { consoleLogger } from "../../common/cli/logger.ts";
import { disableTorque } from "../../controller/arms/torque.ts";
import { agree, requireAgreement } from "./agreement.ts";
import { COMMON_FLAGS, readRequest, type ToolContext, YES_FLAG } from "./flags.ts";
import { describeMissing, openIdleArms } from "./idle_arms.ts";

const COMMAND = {
  name: "torque-off",
  summary:
    "Switch the torque of all servos off. The arms drop: hold them or lay them down first. " +
    "Nothing is checked, and nothing that fails keeps the other servos from being switched off.",
  flags: { ...COMMON_FLAGS, ...YES_FLAG },
} as const;

/**
 * Run the subcommand.
 *
 * @param args The arguments behind its name.
 * @param context The program.
 * @throws {UsageError} Nobody can agree.
 * @throws {Error} An arm is missing, or servos may still have torque; the others have none by then.
 */
export async function runTorqueOff(args: readonly string[], context: ToolContext): Promise<void> {
  const request = await readRequest(COMMAND, args, context);
  if (request === null) return;
  const { settings, flags: { yes, json } } = request;
  const { print, signal } = context;
  const logger = consoleLogger({ name: "robot", level: json ? "info" : "warn" });
  const say = json ? logger.info : print;
  const agreement = { kind: settings.kind, hasAgreed: yes, keyboard: Deno.stdin, say, signal };
  requireAgreement(agreement);
  await using arms = await openIdleArms(settings, { logger });
  const failures = [describeMissing(arms.missing)].filter((text) => text !== "");
  for (const failure of failures) say(`Note: ${failure}`);
  const names = [...arms.buses.keys()];
  say(
    `${names.length === 2 ? "Both arms" : `The ${names[0]} arm`} will lose all torque and drop: ` +
      "hold them or lay them down, and keep clear of them.",
  );
  await agree(agreement);
  if (settings.isDryRun) return say("Dry run: torque stays as it is.");
  const off: string[] = [];
  await Promise.all([...arms.buses].map(async ([arm, bus]) => {
    try {
      await disableTorque(bus);
      off.push(arm);
      say(`The ${arm} arm has no torque.`);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }));
  if (json) print(JSON.stringify({ off: off.sort(), failures }));
  if (failures.length > 0) throw new Error(`Torque may still be on: ${failures.join("; ")}`);
}
