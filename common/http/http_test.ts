import assert from "node:assert/strict";
import { Gauge, Registry } from "prom-client";
import type { Logger } from "../types.ts";
import { isAuthorized, parseToken } from "./auth.ts";
import { checkExposure, listen } from "./listen.ts";
import { isLoopback } from "./loopback.ts";
import { createStatusApp, type StatusAppOptions } from "./status_app.ts";

const TOKEN = "0123456789abcdef0123";
const errors: string[] = [];
const logger: Logger = { info() {}, warn() {}, error: (message) => void errors.push(message) };

function appWith(changes: Partial<StatusAppOptions> = {}) {
  const registry = new Registry();
  new Gauge({ name: "tendon_test", help: "A gauge.", registers: [registry] }).set(4);
  return createStatusApp({
    isHealthy: () => true,
    status: () => ({ chunks: 3 }),
    registry,
    token: null,
    logger,
    ...changes,
  });
}

Deno.test("isLoopback() knows this machine's addresses", () => {
  for (const host of ["localhost", "LOCALHOST", "127.0.0.1", "127.9.8.7", "::1", "[::1]"]) {
    assert.ok(isLoopback(host), host);
  }
  for (
    const host of ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example", "robot", "", "1127.0.0.1"]
  ) {
    assert.ok(!isLoopback(host), host);
  }
});

Deno.test("parseToken() trims a token file and refuses weak or unprintable tokens", () => {
  assert.equal(parseToken(`${TOKEN}\n`), TOKEN);
  assert.throws(() => parseToken("short"), /has 5 characters, it must have 16 to 1024/);
  assert.throws(() => parseToken(`${TOKEN} ${TOKEN}`), /without spaces/);
  assert.throws(() => parseToken(`${TOKEN}é`), /printable ASCII/);
});

Deno.test("isAuthorized() accepts the bearer token alone", () => {
  assert.ok(isAuthorized(`Bearer ${TOKEN}`, TOKEN));
  assert.ok(isAuthorized(`bearer ${TOKEN}`, TOKEN));
  for (const header of [undefined, "", TOKEN, `Basic ${TOKEN}`, `Bearer ${TOKEN}x`, "Bearer "]) {
    assert.ok(!isAuthorized(header, TOKEN), String(header));
  }
});

Deno.test("createStatusApp() serves health, status and metrics", async () => {
  const app = appWith();
  assert.equal((await app.request("/healthz")).status, 200);
  assert.deepEqual(await (await app.request("/status")).json(), { chunks: 3 });
  const metrics = await app.request("/metrics");
  assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain/);
  assert.match(await metrics.text(), /^tendon_test 4$/m);
  assert.equal((await appWith({ isHealthy: () => false }).request("/healthz")).status, 503);
});

Deno.test("createStatusApp() needs the token on every endpoint once it has one", async () => {
  const app = appWith({ token: TOKEN });
  for (const path of ["/healthz", "/status", "/metrics", "/nothing"]) {
    const denied = await app.request(path);
    assert.equal(denied.status, 401);
    assert.match((await denied.json()).error, /needs its token/);
    const wrong = { headers: { authorization: "Bearer wrong" } };
    assert.equal((await app.request(path, wrong)).status, 401);
  }
  const headers = { authorization: `Bearer ${TOKEN}` };
  assert.equal((await app.request("/status", { headers })).status, 200);
});

Deno.test("createStatusApp() answers failures and unknown paths with a sentence", async () => {
  const failing = appWith({
    status: () => {
      throw new Error("secret detail");
    },
  });
  const response = await failing.request("/status");
  assert.equal(response.status, 500);
  assert.ok(!(await response.text()).includes("secret"));
  assert.match(errors.at(-1) ?? "", /Cannot answer \/status: secret detail/);
  const missing = await appWith().request("/nothing");
  assert.equal(missing.status, 404);
  assert.match((await missing.json()).error, /There is no \/nothing/);
});

Deno.test("checkExposure() asks for a token outside loopback", () => {
  checkExposure("127.0.0.1", null);
  checkExposure("0.0.0.0", TOKEN);
  assert.throws(
    () => checkExposure("0.0.0.0", null),
    /Cannot listen on 0\.0\.0\.0 without a token/,
  );
  assert.throws(() => checkExposure("127.0.0.1", "short"), /has 5 characters/);
});

Deno.test("listen() gives the chosen port and frees it on close", async () => {
  const first = listen(() => new Response("hi"), { port: 0 });
  assert.ok(first.port > 0);
  assert.equal(await (await fetch(first.url)).text(), "hi");
  assert.throws(
    () => listen(() => new Response(""), { port: first.port }),
    new RegExp(`Cannot listen on 127.0.0.1:${first.port}: the port is in use`),
  );
  await first.close();
  const second = listen(() => new Response("again"), { port: first.port });
  assert.equal(await (await fetch(second.url)).text(), "again");
  await second.close();
});

Deno.test("listen() refuses a port out of range", () => {
  for (const port of [-1, 65536, 1.5, NaN]) {
    assert.throws(() => listen(() => new Response(""), { port }), /integer in \[0, 65535\]/);
  }
});
