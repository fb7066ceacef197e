/**
 * Asks the system to run the calling thread before all others, so that the control cycles keep their
 * deadlines while the policy and everything else compute.
 *
 * On Linux that is the scheduling class SCHED_FIFO (sched(7)), which needs root, CAP_SYS_NICE, or an
 * rtprio limit for the user (limits.conf(5)). Without it everything works, less punctually. The threads
 * that ask for it sleep nearly always; threads that they start do not inherit it.
 *
 * @module
 */

/** Of the classes in sched.h. */
const SCHED_FIFO = 1;
/** Children begin in the usual class. */
const SCHED_RESET_ON_FORK = 0x4000_0000;
/**
 * Priorities of 1–99, all before the usual threads and behind the kernel's own. What a bus thread waits
 * for comes before it: ROBOTIS' library waits by asking again and again, and would keep the others out.
 */
export const REALTIME_PRIORITY = { bus: 1, motion: 2, emulator: 3 } as const;

/** How the asking went. */
export interface RealtimeAnswer {
  /** The thread runs before all usual ones now. */
  readonly isGranted: boolean;
  /** For people: what was granted, or what to do to have it granted. */
  readonly sentence: string;
}

/** How to be granted it, for people. */
const ADVICE =
  "to keep deadlines on a busy machine, let this user run real-time threads: a line `USER - rtprio 3` " +
  "in /etc/security/limits.conf, then log in again";

/**
 * Ask for the calling thread. Never throws: a controller without it still works.
 *
 * @param thread Which one it is.
 * @returns Whether it was granted.
 */
export function askForRealtime(thread: keyof typeof REALTIME_PRIORITY): RealtimeAnswer {
  const refused = (why: string): RealtimeAnswer => ({
    isGranted: false,
    sentence: `Control threads run at the usual priority (${why}); ${ADVICE}`,
  });
  if (Deno.build.os !== "linux") return refused(`not done on ${Deno.build.os}`);
  try {
    const library = Deno.dlopen("libc.so.6", {
      sched_setscheduler: { parameters: ["i32", "i32", "buffer"], result: "i32" },
    });
    const parameter = new Uint8Array(Int32Array.of(REALTIME_PRIORITY[thread]).buffer);
    const result = library.symbols.sched_setscheduler(
      0, // the calling thread
      SCHED_FIFO | SCHED_RESET_ON_FORK,
      parameter,
    );
    library.close();
    if (result === 0) return { isGranted: true, sentence: "Control threads run in real time" };
    return refused("the system forbids more");
  } catch (error) {
    return refused(error instanceof Error ? error.message.split("\n")[0] : String(error));
  }
}
