/**
 * Binds a server, to this machine unless told otherwise.
 *
 * @module
 */
import { parseToken } from "./auth.ts";
import { isLoopback } from "./loopback.ts";

/** Where to listen. */
export interface ListenOptions {
  /** Name or address; default `127.0.0.1`. */
  readonly host?: string;
  /** 0 for any free port, or 1–65535. */
  readonly port: number;
}

/** A server that is bound. */
export interface Listener {
  /** The host as given. */
  readonly host: string;
  /** The port chosen. */
  readonly port: number;
  /** Where a client on this machine finds it, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Stop: open connections end, then the port is free. */
  close(): Promise<void>;
}

/**
 * Refuse to be reachable from other machines without a token.
 * @param host Where the server is to listen.
 * @param token The token that peers must show, or null.
 * @throws {RangeError} If the host is not loopback and there is no token, or the token is unusable.
 */
export function checkExposure(host: string, token: string | null): void {
  if (token !== null) {
    parseToken(token);
    return;
  }
  if (!isLoopback(host)) {
    throw new RangeError(
      `Cannot listen on ${host} without a token: other machines can reach it; pass --token-file, ` +
        "or --host 127.0.0.1",
    );
  }
}

/**
 * Bind and serve.
 * @param handler Answers requests, such as a Hono app's `fetch`.
 * @param options Where to listen.
 * @returns The bound server.
 * @throws {RangeError} If the port is not an integer in [0, 65535].
 * @throws {Error} If the address cannot be bound; the sentence says why and what to do.
 */
export function listen(
  handler: (request: Request) => Response | Promise<Response>,
  options: ListenOptions,
): Listener {
  const { host = "127.0.0.1", port } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`Cannot listen on port ${port}: it must be an integer in [0, 65535]`);
  }
  const abort = new AbortController();
  const server = bind(handler, host, port, abort.signal);
  const { port: chosen } = server.addr;
  return {
    host,
    port: chosen,
    url: `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${chosen}`,
    async close() {
      abort.abort();
      await server.finished;
    },
  };
}

function bind(
  handler: (request: Request) => Response | Promise<Response>,
  host: string,
  port: number,
  signal: AbortSignal,
): Deno.HttpServer<Deno.NetAddr> {
  const hostname = host.replace(/^\[(.*)\]$/, "$1");
  try {
    return Deno.serve(
      { hostname, port, signal, onListen: () => {} },
      (request) => handler(request),
    );
  } catch (error) {
    throw new Error(`Cannot listen on ${host}:${port}: ${reasonOf(error)}`, { cause: error });
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.AddrInUse) {
    return "the port is in use; stop the other program, or pass --port 0 for any free port";
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return "this machine does not have that address; pass another --host";
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return "the operating system forbids it; pass a --port above 1023";
  }
  if (error instanceof Deno.errors.NotCapable) {
    return "Deno was not given --allow-net for it";
  }
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
