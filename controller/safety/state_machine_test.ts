import assert from "node:assert/strict";
import fc from "fast-check";
import {
  acceptedEvents,
  EVENT_TYPES,
  type EventType,
  type Guard,
  INITIAL_STATUS,
  type MachineStatus,
  mermaidDiagram,
  react,
  type RequiredAction,
  ROBOT_STATES,
  type RobotEvent,
  type RobotState,
  TRANSITIONS,
} from "./state_machine.ts";

function eventOf(type: EventType): RobotEvent {
  if (type === "fault") return { type, reason: "left_elbow: overheating" };
  if (type === "estop") return { type, source: "key press" };
  return { type };
}

/** Send events; every one must be accepted. */
function after(types: readonly EventType[], from: MachineStatus = INITIAL_STATUS): MachineStatus {
  return types.reduce((status, type) => {
    const reaction = react(status, eventOf(type));
    assert.ok(reaction.isAccepted, `${type} in ${status.state}`);
    return reaction.status;
  }, from);
}

const READY: readonly EventType[] = ["connected", "checked"];
const HOMED: readonly EventType[] = [...READY, "home", "homed"];
const RUNNING: readonly EventType[] = [...HOMED, "start"];

/** Written down once more, independently: every transition that there is. */
const EXPECTED:
  readonly (readonly [RobotState, EventType, Guard | "", RobotState, RequiredAction])[] = [
    ["disconnected", "connected", "", "disconnected", "check the arms"],
    ["disconnected", "checked", "connected", "ready", "hold the pose"],
    ["disconnected", "fault", "", "faulted", "stop all motion"],
    ["disconnected", "estop", "", "stopped", "stop all motion"],
    ["disconnected", "disconnect", "", "disconnected", "hold and reconnect"],
    ["disconnected", "shutdown", "", "disconnected", "close the buses"],
    ["ready", "home", "", "homing", "move home"],
    ["ready", "fault", "", "faulted", "stop all motion"],
    ["ready", "estop", "", "stopped", "stop all motion"],
    ["ready", "disconnect", "", "disconnected", "hold and reconnect"],
    ["ready", "shutdown", "", "disconnected", "close the buses"],
    ["homing", "homed", "", "holding", "hold the pose"],
    ["homing", "hold", "", "holding", "hold the pose"],
    ["homing", "fault", "", "faulted", "stop all motion"],
    ["homing", "estop", "", "stopped", "stop all motion"],
    ["homing", "disconnect", "", "disconnected", "hold and reconnect"],
    ["homing", "shutdown", "", "disconnected", "close the buses"],
    ["running", "episode-end", "", "holding", "hold the pose"],
    ["running", "hold", "", "holding", "hold the pose"],
    ["running", "fault", "", "faulted", "stop all motion"],
    ["running", "estop", "", "stopped", "stop all motion"],
    ["running", "disconnect", "", "disconnected", "hold and reconnect"],
    ["running", "shutdown", "", "disconnected", "close the buses"],
    ["holding", "home", "", "homing", "move home"],
    ["holding", "start", "homed", "running", "execute the policy"],
    ["holding", "resume", "homed", "running", "execute the policy"],
    ["holding", "hold", "", "holding", "none"],
    ["holding", "fault", "", "faulted", "stop all motion"],
    ["holding", "estop", "", "stopped", "stop all motion"],
    ["holding", "disconnect", "", "disconnected", "hold and reconnect"],
    ["holding", "shutdown", "", "disconnected", "close the buses"],
    ["faulted", "connected", "", "faulted", "check the arms"],
    ["faulted", "checked", "connected", "faulted", "none"],
    ["faulted", "fault", "", "faulted", "stop all motion"],
    ["faulted", "recover", "checked", "ready", "hold the pose"],
    ["faulted", "recover", "unchecked", "disconnected", "check the arms"],
    ["faulted", "estop", "", "stopped", "stop all motion"],
    ["faulted", "disconnect", "", "faulted", "hold and reconnect"],
    ["faulted", "shutdown", "", "disconnected", "close the buses"],
    ["stopped", "connected", "", "stopped", "check the arms"],
    ["stopped", "checked", "connected", "stopped", "none"],
    ["stopped", "fault", "", "stopped", "stop all motion"],
    ["stopped", "estop", "", "stopped", "stop all motion"],
    ["stopped", "release", "checked", "ready", "hold the pose"],
    ["stopped", "release", "unchecked", "disconnected", "check the arms"],
    ["stopped", "disconnect", "", "stopped", "hold and reconnect"],
    ["stopped", "shutdown", "", "stopped", "close the buses"],
  ];

Deno.test("react() makes every transition of the table, and only those", () => {
  for (const state of ROBOT_STATES) {
    for (const type of EVENT_TYPES) {
      for (let bits = 0; bits < 8; bits++) {
        const status = {
          state,
          isConnected: (bits & 1) !== 0,
          isChecked: (bits & 2) !== 0,
          isHomed: (bits & 4) !== 0,
          reason: "",
        };
        const isTrue = (guard: Guard | "") =>
          guard === "" || (guard === "connected" && status.isConnected) ||
          (guard === "checked" && status.isChecked) || (guard === "homed" && status.isHomed) ||
          (guard === "unchecked" && !status.isChecked);
        const row = EXPECTED.find(([s, t, guard]) => s === state && t === type && isTrue(guard));
        const reaction = react(status, eventOf(type));
        assert.equal(reaction.isAccepted, row !== undefined, `${type} in ${state}, ${bits}`);
        if (!reaction.isAccepted) {
          assert.equal(reaction.status, status, "a refused event changes nothing");
          assert.match(reaction.refusal, new RegExp(`^Cannot take "${type}": .+`));
        } else if (row !== undefined) {
          assert.deepEqual([reaction.status.state, reaction.action], [row[3], row[4]]);
        }
      }
    }
  }
  const rows = Object.values(TRANSITIONS).flatMap((row) => Object.values(row)).flat();
  assert.equal(rows.length, EXPECTED.length);
});

Deno.test("react() goes through a run, its episodes and its end", () => {
  const running = after(RUNNING);
  assert.deepEqual(running, {
    state: "running",
    isConnected: true,
    isChecked: true,
    isHomed: true,
    reason: "",
  });
  const again = after(["episode-end", "home", "homed", "start", "hold", "resume"], running);
  assert.equal(again.state, "running");
  const closed = after(["episode-end", "shutdown"], again);
  assert.deepEqual(closed, INITIAL_STATUS);
});

Deno.test("react() says in one sentence why an event is refused", () => {
  const refusal = (status: MachineStatus, type: EventType) => {
    const reaction = react(status, eventOf(type));
    return reaction.isAccepted ? "" : reaction.refusal;
  };
  assert.equal(
    refusal(INITIAL_STATUS, "checked"),
    'Cannot take "checked": the robot is not connected yet',
  );
  assert.match(
    refusal(after(READY), "start"),
    /^Cannot take "start": a ready robot takes only home, fault/,
  );
  const interrupted = after([...READY, "home", "hold"]);
  assert.equal(refusal(interrupted, "resume"), 'Cannot take "resume": the robot is not homed yet');
});

Deno.test("react() makes a fault name its first reason until it is recovered", () => {
  let status = after(RUNNING);
  const fault = (reason: string) => {
    status = react(status, { type: "fault", reason }).status;
  };
  fault("left_elbow: overload");
  fault("right_waist: overheating");
  assert.equal(status.reason, "left_elbow: overload");
  assert.equal(status.isChecked, false);
  const stopped = after(["estop"], status);
  assert.equal(stopped.reason, "emergency stop by key press");
  assert.equal(after(["release"], stopped).state, "disconnected");
  const recovered = after(["checked", "recover"], status);
  assert.deepEqual([recovered.state, recovered.reason], ["ready", ""]);
});

Deno.test("react() forgets the check with the link, and the stop outlives both", () => {
  const away = after([...RUNNING, "disconnect"]);
  assert.deepEqual([away.state, away.isChecked, away.isHomed], ["disconnected", false, false]);
  const stopped = after([...RUNNING, "estop", "disconnect", "connected", "checked", "shutdown"]);
  assert.deepEqual([stopped.state, stopped.reason], ["stopped", "emergency stop by key press"]);
  assert.equal(after(["release"], stopped).state, "disconnected");
});

Deno.test("react() runs no robot that faulted or stopped before recovery, homing and start", () => {
  // Single events, and whole ways forward: single ones alone would hardly ever get anywhere.
  const someEvents = fc.oneof(
    fc.constantFrom(...EVENT_TYPES).map((type) => [type]),
    fc.constantFrom([...RUNNING], ["release", ...RUNNING], ["recover", ...RUNNING] as EventType[]),
  );
  const anyEvents = fc.array(someEvents, { minLength: 1, maxLength: 30, size: "max" })
    .map((groups) => groups.flat() as EventType[]);
  let runs = 0;
  fc.assert(
    fc.property(fc.constantFrom(INITIAL_STATUS, after(RUNNING)), anyEvents, (from, events) => {
      let status = from;
      // What is still missing, from the events alone.
      const isRunning = from.state === "running";
      let isStopped = false, isFaulted = false, isHomed = isRunning;
      for (const type of events) {
        const reaction = react(status, eventOf(type));
        status = reaction.status;
        if (!reaction.isAccepted) continue;
        if (type === "estop") isStopped = true;
        if (type === "fault" && !isStopped) isFaulted = true;
        if (type === "release") isStopped = isFaulted = false;
        if (type === "recover" || type === "shutdown") isFaulted = false;
        if (["estop", "fault", "disconnect", "shutdown", "home"].includes(type)) isHomed = false;
        if (type === "homed") isHomed = true;
        if (status.state === "running") {
          runs++;
          assert.ok(!isStopped && !isFaulted && isHomed, events.join(" "));
          assert.ok(status.isConnected && status.isChecked && status.isHomed);
        }
        if (isStopped) assert.equal(status.state, "stopped");
      }
    }),
    { numRuns: 1000 },
  );
  assert.ok(runs > 1000, `${runs} runs`);
});

Deno.test("every state takes an emergency stop and a shutdown", () => {
  for (const state of ROBOT_STATES) {
    const accepted = acceptedEvents(state);
    assert.ok(accepted.includes("estop") && accepted.includes("shutdown"), state);
  }
});

Deno.test("mermaidDiagram() draws every transition once", () => {
  const text = mermaidDiagram();
  assert.ok(text.startsWith("stateDiagram-v2\n  [*] --> disconnected\n"));
  assert.ok(text.includes("  holding --> running: start [homed] / execute the policy\n"));
  assert.ok(text.includes("  stopped --> ready: release [checked] / hold the pose\n"));
  assert.ok(text.includes("  holding --> holding: hold\n"));
  const drawn = EXPECTED.filter(([, type]) => type !== "estop" && type !== "shutdown");
  assert.equal(text.match(/-->/g)?.length, drawn.length + 1);
});

Deno.test("ARCHITECTURE.md shows the machine as it is", async () => {
  const text = await Deno.readTextFile(new URL("../../ARCHITECTURE.md", import.meta.url));
  assert.ok(text.includes("```mermaid\n" + mermaidDiagram() + "```\n"));
});
