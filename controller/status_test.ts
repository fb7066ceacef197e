import assert from "node:assert/strict";
import { type ControllerStatus, createControllerApp } from "./status.ts";

const STATUS: ControllerStatus = {
  link: "connected",
  counts: {
    sent: 9,
    resent: 2,
    acked: 7,
    duplicates: 1,
    refused: 0,
    dropped: 0,
    reconnects: 1,
    queued: 2,
  },
  policyVersion: 4,
  episodes: 3,
  successes: 1,
};
const OPTIONS = {
  host: "127.0.0.1",
  token: null,
  status: () => STATUS,
  logger: { info() {}, warn() {}, error() {} },
};

Deno.test("createControllerApp() shows the link and the policy", async () => {
  const app = createControllerApp(OPTIONS);
  assert.deepEqual(await (await app.request("/status")).json(), STATUS);
  const text = await (await app.request("/metrics")).text();
  for (const line of ["connected 1", "policy_version 4", "chunks_queued 2", "chunks_acked 7"]) {
    assert.ok(text.includes(`\ntendon_controller_${line}\n`), `${line} is not in\n${text}`);
  }
});

Deno.test("createControllerApp() is healthy until its link has ended", async () => {
  for (const [link, code] of [["connected", 200], ["waiting", 200], ["ended", 503]] as const) {
    const app = createControllerApp({ ...OPTIONS, status: () => ({ ...STATUS, link }) });
    assert.equal((await app.request("/healthz")).status, code);
  }
});

Deno.test("createControllerApp() asks for a token outside loopback", async () => {
  assert.throws(() => createControllerApp({ ...OPTIONS, host: "0.0.0.0" }), /without a token/);
  const token = "0123456789abcdef0123";
  const app = createControllerApp({ ...OPTIONS, host: "0.0.0.0", token });
  assert.equal((await app.request("/metrics")).status, 401);
  const headers = { authorization: `Bearer ${token}` };
  assert.equal((await app.request("/metrics", { headers })).status, 200);
});
