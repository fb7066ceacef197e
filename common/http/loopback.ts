/**
 * Whether a host reaches this machine only.
 * @param host A name or an address as given to `--host`; IPv6 with or without brackets.
 * @returns True for `localhost`, 127.0.0.0/8 (RFC 1122) and `::1` (RFC 4291). Other names count as
 *   reachable from outside, whatever they resolve to.
 */
export function isLoopback(host: string): boolean {
  const bare = host.toLowerCase().replace(/^\[(.*)\]$/, "$1");
  return bare === "localhost" || bare === "::1" || /^127(\.\d{1,3}){3}$/.test(bare);
}
