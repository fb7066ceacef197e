/**
 * CRC-32C (Castagnoli), the checksum of OCDBT nodes and of zarr's `crc32c` codec (RFC 3720, B.4).
 *
 * @module
 */

/** The polynomial 0x1EDC6F41 with its bits reversed. */
const POLYNOMIAL = 0x82f63b78;

let table: Int32Array | undefined;

/** Four tables of 256 entries: table k holds the checksum of a byte followed by k zero bytes. */
function makeTable(): Int32Array {
  const made = new Int32Array(4 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
    made[byte] = crc;
  }
  for (let i = 256; i < made.length; i++) {
    made[i] = (made[i - 256] >>> 8) ^ made[made[i - 256] & 255];
  }
  return made;
}

/**
 * Checksum some bytes.
 *
 * @param bytes The bytes.
 * @returns An unsigned 32-bit number.
 */
export function crc32c(bytes: Uint8Array): number {
  const t = table ??= makeTable();
  let crc = -1;
  let i = 0;
  for (const end = bytes.length - 3; i < end; i += 4) {
    crc ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    crc = t[768 + (crc & 255)] ^ t[512 + ((crc >>> 8) & 255)] ^ t[256 + ((crc >>> 16) & 255)] ^
      t[crc >>> 24];
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ t[(crc ^ bytes[i]) & 255];
  return ~crc >>> 0;
}
