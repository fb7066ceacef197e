/**
 * THE states of a real robot, what each event does in each of them, and what is refused.
 *
 * The table says it all: an event without a row in a state is refused there. `running` is entered from
 * `holding` alone, and only while the robot is homed; a fault, an emergency stop, a lost link and a
 * new homing each take that away. So a robot that faulted or stopped runs again only after its
 * recovery or release, then homing, then a start.
 *
 * @module
 */

/** States of the robot. `disconnected` also is a link that is up but not yet checked. */
export const ROBOT_STATES = [
  "disconnected",
  "ready",
  "homing",
  "running",
  "holding",
  "faulted",
  "stopped",
] as const;

/** One of {@link ROBOT_STATES}. */
export type RobotState = (typeof ROBOT_STATES)[number];

/** Kinds of events. */
export const EVENT_TYPES = [
  "connected",
  "checked",
  "home",
  "homed",
  "start",
  "episode-end",
  "hold",
  "resume",
  "fault",
  "recover",
  "estop",
  "release",
  "disconnect",
  "shutdown",
] as const;

/** One of {@link EVENT_TYPES}. */
export type EventType = (typeof EVENT_TYPES)[number];

/** What happened. */
export type RobotEvent =
  | {
    /** Any event that needs no words. */
    readonly type: Exclude<EventType, "fault" | "estop">;
  }
  | {
    /** Something failed. */
    readonly type: "fault";
    /** What failed, such as "left_elbow: overheating". */
    readonly reason: string;
  }
  | {
    /** An emergency stop. */
    readonly type: "estop";
    /** Who asked for it, such as "key press". */
    readonly source: string;
  };

/** What the owner of the machine must do after a transition. */
export type RequiredAction =
  | "none"
  | "check the arms"
  | "move home"
  | "execute the policy"
  | "hold the pose"
  | "stop all motion"
  | "hold and reconnect"
  | "close the buses";

/** What must be true for a transition. */
export type Guard = "connected" | "checked" | "homed" | "unchecked";

/** Where an event leads, and what must be done then. */
export interface Transition {
  /** The next state. */
  readonly to: RobotState;
  /** What must be done. */
  readonly action: RequiredAction;
  /** What must be true; nothing if absent. */
  readonly when?: Guard;
}

/** Rows of one state: the first one whose guard holds applies. */
export type StateRow = Readonly<Partial<Record<EventType, readonly Transition[]>>>;

const to = (state: RobotState, action: RequiredAction, when?: Guard): Transition =>
  when === undefined ? { to: state, action } : { to: state, action, when };

const STOP = [to("stopped", "stop all motion")];
const FAULT = [to("faulted", "stop all motion")];
const LOST = [to("disconnected", "hold and reconnect")];
const CLOSE = [to("disconnected", "close the buses")];
const HOME = [to("homing", "move home")];

/** The machine: state × event → next state and required action. */
export const TRANSITIONS: Readonly<Record<RobotState, StateRow>> = {
  disconnected: {
    connected: [to("disconnected", "check the arms")],
    checked: [to("ready", "hold the pose", "connected")],
    fault: FAULT,
    estop: STOP,
    disconnect: LOST,
    shutdown: CLOSE,
  },
  ready: {
    home: HOME,
    fault: FAULT,
    estop: STOP,
    disconnect: LOST,
    shutdown: CLOSE,
  },
  homing: {
    homed: [to("holding", "hold the pose")],
    hold: [to("holding", "hold the pose")],
    fault: FAULT,
    estop: STOP,
    disconnect: LOST,
    shutdown: CLOSE,
  },
  running: {
    "episode-end": [to("holding", "hold the pose")],
    hold: [to("holding", "hold the pose")],
    fault: FAULT,
    estop: STOP,
    disconnect: LOST,
    shutdown: CLOSE,
  },
  holding: {
    home: HOME,
    start: [to("running", "execute the policy", "homed")],
    resume: [to("running", "execute the policy", "homed")],
    hold: [to("holding", "none")],
    fault: FAULT,
    estop: STOP,
    disconnect: LOST,
    shutdown: CLOSE,
  },
  faulted: {
    connected: [to("faulted", "check the arms")],
    checked: [to("faulted", "none", "connected")],
    fault: [to("faulted", "stop all motion")],
    recover: [
      to("ready", "hold the pose", "checked"),
      to("disconnected", "check the arms", "unchecked"),
    ],
    estop: STOP,
    disconnect: [to("faulted", "hold and reconnect")],
    shutdown: CLOSE,
  },
  stopped: {
    connected: [to("stopped", "check the arms")],
    checked: [to("stopped", "none", "connected")],
    fault: [to("stopped", "stop all motion")],
    estop: STOP,
    release: [
      to("ready", "hold the pose", "checked"),
      to("disconnected", "check the arms", "unchecked"),
    ],
    disconnect: [to("stopped", "hold and reconnect")],
    // The latch outlives the buses: a program that opens them again still needs the release.
    shutdown: [to("stopped", "close the buses")],
  },
};

/** Where the machine stands. */
export interface MachineStatus {
  /** Its state. */
  readonly state: RobotState;
  /** The buses are open. */
  readonly isConnected: boolean;
  /** The arms passed their check since then, and no fault has come up since the check. */
  readonly isChecked: boolean;
  /** The arms reached the reset pose, and nothing has made that doubtful since. */
  readonly isHomed: boolean;
  /** Why it is faulted or stopped: the first cause; empty otherwise. */
  readonly reason: string;
}

/** Where every machine begins. */
export const INITIAL_STATUS: MachineStatus = {
  state: "disconnected",
  isConnected: false,
  isChecked: false,
  isHomed: false,
  reason: "",
};

/** What came of an event. */
export type Reaction =
  | {
    /** The event was taken. */
    readonly isAccepted: true;
    /** The new status. */
    readonly status: MachineStatus;
    /** What must be done now. */
    readonly action: RequiredAction;
  }
  | {
    /** The event was refused. */
    readonly isAccepted: false;
    /** The old status. */
    readonly status: MachineStatus;
    /** One sentence that says why, and what to do. */
    readonly refusal: string;
  };

/**
 * What an event does.
 *
 * @param status Where the machine stands.
 * @param event What happened.
 * @returns The new status and what must be done, or why the event is refused. Never throws.
 */
export function react(status: MachineStatus, event: RobotEvent): Reaction {
  const options = TRANSITIONS[status.state][event.type];
  const transition = options?.find(({ when }) => holds(status, when));
  if (transition === undefined) {
    const missing = options?.map(({ when }) => when).join(" or ");
    const because = missing === undefined
      ? `a ${status.state} robot takes only ${acceptedEvents(status.state).join(", ")}`
      : `the robot is not ${missing} yet`;
    return { isAccepted: false, status, refusal: `Cannot take "${event.type}": ${because}` };
  }
  return { isAccepted: true, status: next(status, event, transition), action: transition.action };
}

/**
 * Events that a state takes, given its guards hold.
 *
 * @param state Which state.
 * @returns Their kinds, in the order of {@link EVENT_TYPES}.
 */
export function acceptedEvents(state: RobotState): EventType[] {
  return EVENT_TYPES.filter((type) => TRANSITIONS[state][type] !== undefined);
}

function holds(status: MachineStatus, guard: Guard | undefined): boolean {
  switch (guard) {
    case undefined:
      return true;
    case "connected":
      return status.isConnected;
    case "checked":
      return status.isChecked;
    case "unchecked":
      return !status.isChecked;
    case "homed":
      return status.isHomed;
    default:
      return guard satisfies never;
  }
}

function next(status: MachineStatus, event: RobotEvent, transition: Transition): MachineStatus {
  const { to: state } = transition;
  const losesLink = event.type === "disconnect" || event.type === "shutdown";
  const isConnected = event.type === "connected" || (status.isConnected && !losesLink);
  // A new link is another robot until it is checked; a fault makes the last check worthless.
  const isChecked = event.type === "checked" ||
    (status.isChecked && isConnected && event.type !== "connected" && event.type !== "fault");
  const isStill = state === "holding" || state === "running";
  const isHomed = event.type === "homed" || (status.isHomed && isStill);
  const isTrouble = state === "faulted" || state === "stopped";
  return { state, isConnected, isChecked, isHomed, reason: isTrouble ? reason(status, event) : "" };
}

/** The first cause; an emergency stop is a cause of its own. */
function reason(status: MachineStatus, event: RobotEvent): string {
  if (event.type === "estop" && status.state !== "stopped") {
    return `emergency stop by ${event.source}`;
  }
  if (event.type === "fault" && status.reason === "") return event.reason;
  return status.reason;
}

/**
 * Draw the machine for ARCHITECTURE.md.
 *
 * @returns Text of a mermaid state diagram, with the required action of every transition. Events that
 * every state takes alike (`estop`, `shutdown`) are said once, in a note.
 */
export function mermaidDiagram(): string {
  const lines = ["stateDiagram-v2", "  [*] --> disconnected"];
  for (const state of ROBOT_STATES) {
    for (const type of EVENT_TYPES) {
      if (type === "estop" || type === "shutdown") continue;
      for (const { to: target, action, when } of TRANSITIONS[state][type] ?? []) {
        const guard = when === undefined ? "" : ` [${when}]`;
        const what = action === "none" ? "" : ` / ${action}`;
        lines.push(`  ${state} --> ${target}: ${type}${guard}${what}`);
      }
    }
  }
  lines.push("  note right of stopped");
  lines.push("    estop leads here from every state / stop all motion");
  lines.push("  end note");
  lines.push("  note right of disconnected");
  lines.push("    shutdown leads here from every state but stopped / close the buses");
  lines.push("  end note");
  return lines.join("\n") + "\n";
}
