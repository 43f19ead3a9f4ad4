/** A small node service of its own, for tests of what speaks HTTP; and a DNS server on loopback. */
export { type DnsServer, startDnsServer } from "./dns-server.ts";
export { TestService } from "./test-service.ts";
