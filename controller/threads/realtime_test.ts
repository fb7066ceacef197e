import assert from "node:assert/strict";
import { askForRealtime } from "./realtime.ts";

/** Of the classes in sched.h, without the flag for children. */
const CLASS = 0xff;

function schedulingClass(): number {
  const library = Deno.dlopen("libc.so.6", {
    sched_getscheduler: { parameters: ["i32"], result: "i32" },
  });
  const policy = library.symbols.sched_getscheduler(0) & CLASS;
  library.close();
  return policy;
}

Deno.test({
  name: "askForRealtime() is granted what it says, for its own thread alone",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const before = schedulingClass();
    const code = `import { askForRealtime } from "${new URL("./realtime.ts", import.meta.url)}";
      ${schedulingClass.toString()}
      const CLASS = ${CLASS};
      self.postMessage({ answer: askForRealtime("bus"), policy: schedulingClass() });`;
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    const said = Promise.withResolvers<
      { answer: ReturnType<typeof askForRealtime>; policy: number }
    >();
    worker.onmessage = ({ data }) => said.resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      said.reject(new Error(event.message));
    };
    const { answer, policy } = await said.promise.finally(() => worker.terminate());
    URL.revokeObjectURL(url);
    assert.equal(policy, answer.isGranted ? 1 : 0);
    assert.match(answer.sentence, answer.isGranted ? /real time/ : /rtprio/);
    assert.equal(schedulingClass(), before);
  },
});
