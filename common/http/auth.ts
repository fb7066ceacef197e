/**
 * The bearer token that every peer must show once a server is reachable from outside.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";

/** Shortest token accepted: 16 characters of base64 hold 96 bits. */
export const MIN_TOKEN_LENGTH = 16;
/** Longest token accepted, well below what HTTP servers take as a header. */
export const MAX_TOKEN_LENGTH = 1024;

/**
 * Check what a token file held.
 * @param text The file's text; white space around the token is dropped.
 * @returns The token.
 * @throws {RangeError} If it is shorter than 16 or longer than 1024 characters, or holds anything
 *   but printable ASCII. The sentence does not repeat the token.
 */
export function parseToken(text: string): string {
  const token = text.trim();
  if (token.length < MIN_TOKEN_LENGTH || token.length > MAX_TOKEN_LENGTH) {
    throw new RangeError(
      `Cannot use the token: it has ${token.length} characters, it must have ${MIN_TOKEN_LENGTH} ` +
        `to ${MAX_TOKEN_LENGTH}; make one with "openssl rand -hex 32"`,
    );
  }
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new RangeError(
      "Cannot use the token: it must be one line of printable ASCII without spaces",
    );
  }
  return token;
}

/**
 * Whether a request shows the token. Takes the same time wherever a wrong token differs.
 * @param authorization The `Authorization` header, if there was one.
 * @param token The right token.
 * @returns True only for `Bearer <token>` (RFC 6750 section 2.1).
 */
export function isAuthorized(authorization: string | undefined | null, token: string): boolean {
  const shown = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
  return timingSafeEqual(digest(shown), digest(token));
}

// Digests have one length, which timingSafeEqual demands, and hide the token's own.
function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
