/**
 * Who an adapter is, in words.
 * @module
 */

/** What an adapter is. */
export interface GpuInfo {
  /** The driver's name for it, such as "NVIDIA H100 80GB HBM3". */
  readonly name: string;
  /** Who made it, such as "NVIDIA"; a PCI number where it is none of the known ones. */
  readonly vendor: string;
  /** It computes on the CPU. */
  readonly isSoftware: boolean;
}

/** PCI numbers of vendors, in decimal as Deno gives them (pcisig.com, Khronos for Mesa). */
const VENDORS: ReadonlyMap<string, string> = new Map([
  ["4098", "AMD"],
  ["4203", "Apple"],
  ["4318", "NVIDIA"],
  ["5045", "Arm"],
  ["20803", "Qualcomm"],
  ["32902", "Intel"],
  ["65541", "Mesa"],
]);

/** Name an adapter and tell software from hardware. */
export function describeAdapter(info: GPUAdapterInfo): GpuInfo {
  const { description, device, vendor, isFallbackAdapter } = info;
  return {
    name: description || device || vendor || "without a name",
    vendor: VENDORS.get(vendor) ?? vendor,
    // Deno says so itself; the names are for drivers that it does not know to be software.
    isSoftware: isFallbackAdapter ||
      /llvmpipe|lavapipe|swiftshader|basic render/i.test(`${description} ${device} ${vendor}`),
  };
}
