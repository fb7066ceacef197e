/**
 * Reads what a program gets from files and from its environment.
 * @module
 */

import { parseToken } from "../http/auth.ts";

/**
 * Read the token that peers must show.
 * @param path File that holds it; empty for no token.
 * @throws Error, one sentence, if the file cannot be read or holds no usable token.
 */
export async function readToken(path: string): Promise<string | null> {
  if (path === "") return null;
  try {
    return parseToken(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new Error(`Cannot read the token file ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
