/** The network cards that a VM has in networks that have records, as the leader gave them out when the VM was made. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { bridgeNameSchema, nameSchema } from "./values.ts";
import { ipv4Schema, networksOf, userNetwork, type VmNetwork } from "./vm-networks.ts";

const vmCardSchema = z.object({
  network: nameSchema,
  networkId: z.uuid(),
  /** Absent in a network with a bridge. */
  address: ipv4Schema.exactOptional(),
  mac: z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/),
  /** Of IPv6; absent in a network that carries none. */
  address6: z.ipv6().exactOptional(),
  /** That of its network: what it is plugged in, on whatever node. */
  bridge: bridgeNameSchema.exactOptional(),
});
export type VmCard = Readonly<z.infer<typeof vmCardSchema>>;

export const vmCardsSchema = z.array(vmCardSchema).max(limits.vmNetworksMax);

/** A VM as far as its network cards go. */
export interface CardWishes {
  readonly spec: { readonly networks?: readonly VmNetwork[] | undefined };
  readonly cards?: readonly VmCard[] | undefined;
}

/** What of its network cards a process keeps that was started with them, for people: network, address, MAC address and bridge that were given. */
export function cardTextsOf({ spec, cards = [] }: CardWishes): readonly string[] {
  return networksOf(spec).map(({ network, address, mac }) => {
    const card = cards.find((each) => each.network === network);
    return [network, card?.address ?? address, card?.mac ?? mac, card?.bridge]
      .filter((part) => part !== undefined)
      .join(" ");
  });
}

/** The networks of a specification that have records. */
export function recordedNetworksOf({ networks = [] }: { readonly networks?: readonly VmNetwork[] | undefined }) {
  return networks.filter(({ network }) => network !== userNetwork);
}
