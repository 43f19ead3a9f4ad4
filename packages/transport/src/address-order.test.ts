import { describe, expect, it } from "@jest/globals";
import { gatewayRoutes, type Interfaces, orderAddresses, parseIpv4Routes, parseIpv6Routes } from "./address-order.ts";

const v4 = (address: string, prefix = 24, internal = false) => ({
  ...{ address, netmask: "", mac: "", internal, cidr: `${address}/${prefix}` },
  family: "IPv4" as const,
});
const v6 = (address: string, scopeid = 0) => ({
  ...{ address, netmask: "", mac: "", internal: false, cidr: `${address}/64`, scopeid },
  family: "IPv6" as const,
});

describe("orderAddresses", () => {
  const bridges = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`br${at}`, [v4(`172.17.${at}.1`)]]));
  const interfaces: Interfaces = {
    lo: [v4("127.0.0.1", 8, true)],
    ...bridges,
    vpn0: [v4("10.8.0.2"), v6("fd00::8")],
    eth1: [v4("192.0.2.9"), v4("198.51.100.9"), v6("fe80::1", 2), v6("fd00::9")],
  };
  const routes = [
    { interfaceName: "vpn0", gateway: "10.8.0.1", isDefault: false, metric: 0 },
    { interfaceName: "eth1", gateway: "198.51.100.1", isDefault: true, metric: 100 },
  ];

  it("puts the default route first, then other gateways, then one of each interface, then the rest", () => {
    const order = orderAddresses(interfaces, "IPv4", routes);
    expect(order.slice(0, 3)).toEqual(["198.51.100.9", "10.8.0.2", "172.17.0.1"]);
    expect(order.at(-1)).toBe("192.0.2.9");
    expect(order.length).toBe(23);
    expect(orderAddresses(interfaces, "IPv6", routes)).toEqual(["fd00::9", "fd00::8"]);
  });

  it("gives each interface one address before any has two, also where no route is known", () => {
    const many = { bridge: Array.from({ length: 20 }, (_, at) => v4(`172.17.${at}.1`)), eth0: [v4("10.99.7.1")] };
    expect(orderAddresses(many, "IPv4", []).slice(0, 3)).toEqual(["172.17.0.1", "10.99.7.1", "172.17.1.1"]);
  });
});

describe("the routes of Linux", () => {
  it("are read from its tables", () => {
    const ipv4 = [
      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
      "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
      "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
      "vpn0\t0000000A\t0100080A\t0003\t0\t0\t0\t000000FF\t0\t0\t0",
      "",
    ];
    expect(parseIpv4Routes(ipv4.join("\n"))).toEqual([
      { interfaceName: "eth0", gateway: "192.0.2.1", isDefault: true, metric: 100 },
      { interfaceName: "vpn0", gateway: "10.8.0.1", isDefault: false, metric: 0 },
    ]);
    const zero = "0".repeat(32);
    const ipv6 = [
      `fd${"0".repeat(30)} 40 ${zero} 00 ${zero} 00000100 00000001 00000000 00000001     eth0`,
      `${zero} 00 ${zero} 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     eth0`,
      `${zero} 00 ${zero} 00 ${zero} ffffffff 00000001 00000000 00200200       lo`,
      "",
    ];
    expect(parseIpv6Routes(ipv6.join("\n"))).toEqual([
      { interfaceName: "eth0", gateway: "fd00:0000:0000:0000:0000:0000:0000:0001", isDefault: true, metric: 1024 },
    ]);
  });

  it("are none where the system tells none", () => {
    for (const family of ["IPv4", "IPv6"] as const) expect(gatewayRoutes(family)).toBeInstanceOf(Array);
  });
});
