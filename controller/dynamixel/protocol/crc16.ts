/**
 * The checksum of Dynamixel Protocol 2.0: CRC-16 with polynomial 0x8005, initial value 0, most
 * significant bit first, not reflected (known elsewhere as CRC-16/BUYPASS).
 *
 * @module
 */

const POLYNOMIAL = 0x8005;

/** Remainder of every value of the top byte. */
const REMAINDERS = Uint16Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte << 8;
  for (let bit = 0; bit < 8; bit++) {
    remainder = remainder & 0x8000 ? (remainder << 1) ^ POLYNOMIAL : remainder << 1;
  }
  return remainder & 0xffff;
});

/**
 * Checksum of a range of bytes.
 *
 * @param bytes The bytes.
 * @param start First byte that counts.
 * @param end One past the last byte that counts.
 * @param seed Checksum of the bytes that came before, 0 at the start of a packet.
 * @returns The checksum, 0–65535.
 */
export function crc16(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  let crc = seed;
  for (let i = start; i < end; i++) {
    crc = ((crc << 8) ^ REMAINDERS[(crc >> 8) ^ bytes[i]]) & 0xffff;
  }
  return crc;
}
