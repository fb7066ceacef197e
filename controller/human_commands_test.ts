import assert from "node:assert/strict";
import { resetState } from "../common/robot/aloha.ts";
import { EpisodeLabels } from "./episode_labels.ts";
import { humanCommands } from "./human_commands.ts";
import { createControllerApp } from "./status.ts";
import { Takeover } from "./takeover.ts";

const TOKEN = "a-token-of-the-test-0123456789";
const COUNTS = {
  ...{ sent: 0, resent: 0, acked: 0, duplicates: 0, dropped: 0, queued: 0 },
  ...{ reconnects: 0, refused: 0 },
};
const POSE = [...resetState(1)];

function create(token: string | null = null) {
  const labels = new EpisodeLabels();
  const takeover = new Takeover({ robots: 2, horizon: 4 });
  const app = createControllerApp({
    host: "127.0.0.1",
    token,
    logger: { info() {}, warn() {}, error() {} },
    status: () => ({
      ...{
        link: "connected" as const,
        counts: COUNTS,
        policyVersion: 0,
        episodes: 0,
        successes: 0,
      },
    }),
    commands: humanCommands({ labels, takeover }),
  });
  const post = async (path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const text = typeof body === "string" || body === undefined ? body : JSON.stringify(body);
    const response = await app.request(path, { method: "POST", body: text, headers });
    const { isDone, sentence, error } = await response.json();
    return { status: response.status, isDone, text: sentence ?? error };
  };
  return { labels, takeover, post };
}

Deno.test("POST /reward labels episodes and says why it cannot", async () => {
  const { labels, post } = create();
  const success = { episode: "current", kind: "success" };
  const early = await post("/reward", success);
  assert.deepEqual([early.status, early.isDone], [409, false]);
  assert.match(early.text, /none is running/);
  labels.begin("e-7");
  assert.deepEqual(await post("/reward", { kind: "score", value: 2.5, at: "now" }), {
    status: 200,
    isDone: true,
    text: "Noted: score of the current episode",
  });
  assert.equal(
    (await post("/reward", { ...success, episode: "e-7" })).text,
    "Noted: success of episode e-7",
  );
  const step = { reward: 0, isTerminal: false, isTruncated: false, isSuccess: false };
  assert.deepEqual(labels.judge("e-7", step), {
    ...{ reward: 3.5, humanReward: 3.5, isTerminal: true, isTruncated: false, isSuccess: true },
  });
  labels.end("e-7");
  const late = await post("/reward", { ...success, episode: "e-7" });
  assert.equal(late.status, 409);
  assert.match(late.text, /its last chunk is on its way to the learner/);
});

Deno.test("POST /takeover, its actions and its release drive a robot", async () => {
  const { takeover, post } = create();
  assert.equal((await post("/takeover/actions", { actions: [POSE] })).status, 409);
  assert.match((await post("/takeover", { robot: 2 })).text, /there are 2, counted from 0/);
  assert.equal((await post("/takeover", { robot: 1 })).status, 200);
  assert.equal(takeover.robot, 1);
  assert.match((await post("/takeover")).text, /a person drives robot 1 already/);
  const taken = await post("/takeover/actions", { actions: [POSE, POSE, POSE] });
  assert.deepEqual([taken.status, taken.text], [200, "Taken: 3 control steps wait"]);
  const outside = await post("/takeover/actions", { actions: [POSE.with(0, 9)] });
  assert.match(outside.text, /left_waist of row 0 is 9/);
  assert.equal(takeover.queuedSteps, 3);
  assert.equal((await post("/takeover/release")).isDone, true);
  assert.equal((await post("/takeover/release")).status, 409);
});

Deno.test("humanCommands() refuse bodies that are no request, in one sentence", async () => {
  const { labels, post } = create();
  labels.begin("e");
  const cases: [string, unknown, RegExp][] = [
    ["/reward", "{", /not JSON/],
    ["/reward", "[]", /the body/],
    ["/reward", {}, /kind/],
    ["/reward", { kind: "praise" }, /kind/],
    ["/reward", { kind: "score", value: "2" }, /value/],
    ["/reward", { kind: "success", why: "" }, /why/],
    ["/reward", { kind: "score", value: 1, at: "never" }, /at/],
    ["/takeover", { robot: 0.5 }, /robot/],
    ["/takeover/actions", {}, /actions/],
    ["/takeover/actions", { actions: [] }, /actions/],
    ["/takeover/actions", { actions: [[..."abc"]] }, /actions/],
    ["/takeover/actions", { actions: Array(501).fill(POSE) }, /actions/],
    ["/takeover/actions", " ".repeat(300_000), /more than 262144 bytes/],
    ["/takeover/release", { now: true }, /now/],
  ];
  for (const [path, body, pattern] of cases) {
    const { status, text } = await post(path, body);
    assert.equal(status, 400, `${path} ${text}`);
    assert.match(text, pattern);
    assert.ok(!text.includes("\n") && text.length < 200, text);
  }
});

Deno.test("humanCommands() hear no web page, and nobody without the token", async () => {
  const paths = ["/reward", "/takeover", "/takeover/actions", "/takeover/release"];
  const { post } = create();
  for (const path of paths) {
    assert.equal((await post(path, {}, { origin: "http://127.0.0.1:8000" })).status, 403);
  }
  const guarded = create(TOKEN);
  for (const path of paths) assert.equal((await guarded.post(path, {})).status, 401);
  const headers = { authorization: `Bearer ${TOKEN}` };
  assert.equal((await guarded.post("/takeover", undefined, headers)).status, 200);
});
