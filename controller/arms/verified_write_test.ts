import assert from "node:assert/strict";
import { BusError, type BusFault } from "../dynamixel/bus.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { readItems, writeVerified } from "./verified_write.ts";

/** A servo of a few items whose first calls fail in a given way, or whose writes do not last. */
function scripted(
  { failures = 0, fault = "timeout", isStubborn = false }: {
    readonly failures?: number;
    readonly fault?: BusFault;
    readonly isStubborn?: boolean;
  },
): ServoAccess & { readonly calls: string[] } {
  const items = new Map<string, number>();
  const calls: string[] = [];
  let left = failures;
  const heard = (call: string) => {
    calls.push(call);
    return left-- > 0 ? Promise.reject(new BusError("Servo 1 is not well", fault)) : null;
  };
  return {
    port: "/dev/scripted",
    calls,
    ping: () => Promise.resolve({ error: 0, model: 1120, firmware: 45 }),
    read: (_id, item) => heard(`read ${item}`) ?? Promise.resolve(items.get(item) ?? 0),
    write: (_id, item, value) => {
      const failure = heard(`write ${item}`);
      if (failure === null && !isStubborn) items.set(item, value);
      return failure ?? Promise.resolve();
    },
    reboot: () => Promise.resolve(),
  };
}

Deno.test("writeVerified() writes everything before it reads, and tries again after silence", async () => {
  const servo = scripted({ failures: 2 });
  await writeVerified(servo, 1, [["led", 1], ["goalPosition", 7]]);
  const round = ["write led", "write goalPosition", "read led", "read goalPosition"];
  assert.deepEqual(servo.calls, [...round, ...round]);
});

Deno.test("writeVerified() and readItems() give up on a servo that stays silent", async () => {
  const isTimeout = (error: unknown) => error instanceof BusError && error.fault === "timeout";
  await assert.rejects(writeVerified(scripted({ failures: 99 }), 1, [["led", 1]]), isTimeout);
  const servo = scripted({ failures: 99 });
  await assert.rejects(readItems(servo, 1, ["led"]), isTimeout);
  assert.equal(servo.calls.length, 3);
});

Deno.test("writeVerified() takes a refusal and a lost bus at their word", async () => {
  for (const fault of ["refused", "device", "busy"] as const) {
    const servo = scripted({ failures: 1, fault });
    await assert.rejects(writeVerified(servo, 1, [["led", 1]]), BusError);
    assert.equal(servo.calls.length, 2, "there is no second round");
  }
});

Deno.test("writeVerified() says what does not last", async () => {
  await assert.rejects(
    writeVerified(scripted({ isStubborn: true }), 4, [["led", 0], ["goalPosition", 7]]),
    /Cannot set elbow \(servo 4\) on .*: goalPosition reads 0 after 7 was written; check the servo's/,
  );
});
