/** A DNS server on loopback. */
export { type DnsServer, startDnsServer } from "./dns-server.ts";
