/**
 * Loads ROBOTIS' C library, each time as a copy of its own.
 *
 * @module
 */

import { basename, join } from "node:path";
import { DXL_SYMBOLS, type DxlLibrary } from "./symbols.ts";

/** A loaded copy of the library. */
export interface LoadedLibrary extends Disposable {
  /** Its functions. */
  readonly symbols: DxlLibrary["symbols"];
}

/**
 * Load a copy of the library for one bus.
 *
 * The library keeps its ports in global arrays: opening a second port while one is open reuses the
 * first one's place, and growing the arrays moves them under another thread's feet. A system loads a
 * file only once, but it takes a copy for another library, with globals of its own.
 *
 * @param path The library.
 * @returns The loaded copy; its file is gone again where the system allows that.
 * @throws {Error} One sentence: it cannot be read, or it is not the library.
 */
export function loadDxlLibrary(path: string): LoadedLibrary {
  const folder = Deno.makeTempDirSync({ prefix: "tendon-dxl-" });
  try {
    const copy = join(folder, basename(path));
    Deno.copyFileSync(path, copy);
    const library = Deno.dlopen(copy, DXL_SYMBOLS);
    return {
      symbols: library.symbols,
      [Symbol.dispose]() {
        library.close();
        removeQuietly(folder);
      },
    };
  } catch (error) {
    throw new Error(
      `Cannot load ROBOTIS' library ${path}: ${
        (error as Error).message
      }; name one that was built ` +
        `for ${Deno.build.os} ${Deno.build.arch} with --dxl-library`,
      { cause: error },
    );
  } finally {
    removeQuietly(folder);
  }
}

/** Windows keeps a loaded file; it goes when the library has been closed. */
function removeQuietly(folder: string): void {
  try {
    Deno.removeSync(folder, { recursive: true });
  } catch {
    // Nothing depends on it: the folder is the system's temporary one.
  }
}
