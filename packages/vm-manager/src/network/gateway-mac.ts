/** The hardware address of whom a guest reaches through its switch: the gateway of its network, and everybody beyond that. */
export const gatewayMac = "02:00:00:00:00:02";
