/**
 * Where ROBOTIS' C library is: what the person says, else the usual places.
 *
 * @module
 */

/** The environment variable that names the library; `main.ts` reads it. */
export const DXL_LIBRARY_VARIABLE = "TENDON_DXL_LIBRARY";

/** Names that ROBOTIS' Makefiles and project files give the library, by system and architecture. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  "linux x86_64": ["libdxl_x64_c.so", "libdxl_x86_c.so"],
  "linux aarch64": ["libdxl_sbc_c.so"],
  "darwin x86_64": ["libdxl_mac_c.dylib"],
  "darwin aarch64": ["libdxl_mac_c.dylib"],
  "windows x86_64": ["dxl_x64_c.dll"],
};

/** Where `make install` and package builders put libraries. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  linux: ["/usr/local/lib", "/usr/lib", "/opt/dynamixel/lib"],
  darwin: ["/usr/local/lib", "/opt/homebrew/lib"],
  windows: ["C:/Windows/System32"],
};
/** Debian's folders for one architecture. */
const TRIPLETS: Readonly<Record<string, string>> = {
  "linux x86_64": "/usr/lib/x86_64-linux-gnu",
  "linux aarch64": "/usr/lib/aarch64-linux-gnu",
};

/** What a search depends on. */
export interface LibrarySearch {
  /** Path from the command line; empty or undefined for none. */
  readonly flag?: string;
  /** Value of {@link DXL_LIBRARY_VARIABLE}; empty or undefined for none. */
  readonly variable?: string;
  /** Operating system, such as `linux`. */
  readonly os: string;
  /** Architecture, such as `x86_64`. */
  readonly arch: string;
  /** Whether there is a file at a path. */
  readonly isFile: (path: string) => boolean;
}

/** A library that was found, or what to do to have one. */
export type LibraryFinding =
  | { readonly path: string; readonly origin: "flag" | "variable" | "usual place" }
  | { readonly path: undefined; readonly sentence: string };

/**
 * Look for the library. A path that a person gave is never replaced by another one.
 *
 * @param search What to look at.
 * @returns The path and who named it, or a sentence about what to install.
 */
export function findDxlLibrary(search: LibrarySearch): LibraryFinding {
  const { flag, variable, os, arch, isFile } = search;
  for (
    const [path, origin, name] of [
      [flag, "flag", "--dxl-library"],
      [variable, "variable", DXL_LIBRARY_VARIABLE],
    ] as const
  ) {
    if (path === undefined || path === "") continue;
    if (isFile(path)) return { path, origin };
    return {
      path: undefined,
      sentence: `Cannot use ROBOTIS' library: ${name} names ${path}, and there is no such file`,
    };
  }
  const system = `${os} ${arch}`;
  const names = NAMES[system] ?? [];
  const folders = [...(FOLDERS[os] ?? []), ...(system in TRIPLETS ? [TRIPLETS[system]] : [])];
  for (const folder of folders) {
    for (const name of names) {
      if (isFile(`${folder}/${name}`)) return { path: `${folder}/${name}`, origin: "usual place" };
    }
  }
  const what = names.length > 0 ? names[0] : "its C library";
  return {
    path: undefined,
    sentence:
      `ROBOTIS' library ${what} is not in ${folders.join(", ") || "any known place"}: build ` +
      "it from github.com/ROBOTIS-GIT/DynamixelSDK (c/build, make install), or give its path with " +
      `--dxl-library or ${DXL_LIBRARY_VARIABLE}`,
  };
}

/**
 * Whether there is a file, for {@link LibrarySearch}.
 *
 * @param path A path.
 * @returns True for a file or a link to one.
 */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
