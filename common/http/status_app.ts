/**
 * The three endpoints that both programs serve.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { Logger } from "../types.ts";
import { isAuthorized } from "./auth.ts";

/** Metrics as text; a prom-client `Registry` is one. */
export interface MetricsSource {
  /** Media type of the text. */
  readonly contentType: string;
  /** All metrics in Prometheus's text format. */
  metrics(): Promise<string>;
}

/** Answers a request; the raw one, so that it may be upgraded to a WebSocket. */
export type RouteHandler = (request: Request) => Response | Promise<Response>;

/** An app that needs no socket to be asked. */
export interface StatusApp {
  /** Answer a request. */
  fetch(request: Request): Response | Promise<Response>;
  /** Answer a request for a path, for tests. */
  request(path: string, init?: RequestInit): Response | Promise<Response>;
}

/** What the endpoints show. */
export interface StatusAppOptions {
  /** Whether the program can do its work: `/healthz` answers 200 or 503. */
  readonly isHealthy: () => boolean;
  /** The answer of `/status`; anything that JSON can hold. */
  readonly status: () => object;
  /** The metrics of `/metrics`. */
  readonly registry: MetricsSource;
  /** The token that every request must show; null for none. */
  readonly token: string | null;
  /** Takes failures. */
  readonly logger: Logger;
  /** Further GET routes by path; the token covers them too. */
  readonly routes?: Readonly<Record<string, RouteHandler>>;
  /** POST routes by path: what the program can be told to do. The token covers them. */
  readonly commands?: Readonly<Record<string, RouteHandler>>;
}

/**
 * Make an app with `/healthz`, `/status` and `/metrics`.
 * @param options What to show.
 * @returns The app; `app.request("/status")` needs no socket.
 */
export function createStatusApp(options: StatusAppOptions): StatusApp {
  const { isHealthy, status, registry, token, logger, routes = {}, commands = {} } = options;
  const app = new Hono();
  app.use("*", async (context, next) => {
    if (token === null || isAuthorized(context.req.header("authorization"), token)) {
      await next();
      return;
    }
    context.header("www-authenticate", "Bearer");
    return context.json({ error: "This server needs its token: pass it with --token-file" }, 401);
  });
  app.get("/healthz", (context) => {
    const healthy = isHealthy();
    return context.text(healthy ? "ok\n" : "not ready\n", healthy ? 200 : 503);
  });
  app.get("/status", (context) => context.json(status()));
  app.get("/metrics", async (context) => {
    const text = await registry.metrics();
    return context.body(text, 200, { "content-type": registry.contentType });
  });
  for (const [path, handle] of Object.entries(routes)) {
    app.get(path, (context) => handle(context.req.raw));
  }
  for (const [path, handle] of Object.entries(commands)) {
    app.post(path, (context) => handle(context.req.raw));
    app.get(path, (context) => context.json({ error: `${path} takes a POST request` }, 405));
  }
  app.notFound((context) =>
    context.json({ error: `There is no ${context.req.path}; try /healthz, /status, /metrics` }, 404)
  );
  app.onError((error, context: Context) => {
    logger.error(`Cannot answer ${context.req.path}: ${error.message}`);
    // The peer gets no internals.
    return context.json({ error: `Cannot answer ${context.req.path}: internal error` }, 500);
  });
  return app;
}
