/** The calls of a typed client, made from the contract: `client.<group>.<name>(...args, options)` for each method that says so. */
import type { ClientCall, Method, Methods, RequestOf, ResponseOf } from "@blixard/protocol";
import { methods } from "@blixard/protocol";
import type { CallFunction, CallOptions } from "./call-types.ts";
import { allItems, type PagedMethodName, pagesOf } from "./pages.ts";

/** The methods that are a call of the client. */
type ClientMethodName = {
  [Name in keyof Methods]: Methods[Name] extends { readonly client: ClientCall } ? Name : never;
}[keyof Methods];

type CallOf<Name extends ClientMethodName> = Methods[Name]["client"];
type GroupOf<Name extends ClientMethodName> = CallOf<Name>["group"];

type ArgsOf<Request, Names> = Names extends readonly [infer Field extends keyof Request, ...infer Rest]
  ? undefined extends Request[Field]
    ? [value?: Request[Field], ...rest: ArgsOf<Request, Rest>]
    : [value: Request[Field], ...rest: ArgsOf<Request, Rest>]
  : [];

type ArgumentsOf<Name extends ClientMethodName> = CallOf<Name>["args"] extends "request"
  ? Record<never, never> extends RequestOf<Name>
    ? [request?: RequestOf<Name>]
    : [request: RequestOf<Name>]
  : ArgsOf<RequestOf<Name>, CallOf<Name>["args"]>;

type ResultOf<Name extends ClientMethodName> =
  CallOf<Name> extends { readonly gives: infer Field extends keyof ResponseOf<Name> }
    ? ResponseOf<Name>[Field]
    : ResponseOf<Name>;

type ClientFunction<Name extends ClientMethodName> = (
  ...args: [...ArgumentsOf<Name>, options?: CallOptions]
) => Promise<ResultOf<Name>>;

/** All groups with their calls. */
export type ContractGroups = {
  readonly [Group in GroupOf<ClientMethodName>]: {
    readonly [Name in ClientMethodName as GroupOf<Name> extends Group
      ? CallOf<Name>["name"]
      : never]: ClientFunction<Name>;
  };
};

export function contractGroups(call: CallFunction): ContractGroups {
  const groups: Record<string, Record<string, unknown>> = {};
  for (const [name, { client }] of Object.entries(methods) as [ClientMethodName, Method][]) {
    if (client === undefined) continue;
    const group = groups[client.group] ?? {};
    group[client.name] = clientFunction(call, name, client);
    groups[client.group] = group;
  }
  // The table above and the type are both made from the contract.
  return groups as ContractGroups;
}

/** Arguments that are not given are left out of the request, so that its defaults hold. */
function clientFunction(call: CallFunction, name: ClientMethodName, { args, gives, pages }: ClientCall) {
  return async (...given: unknown[]): Promise<unknown> => {
    const count = args === "request" ? 1 : args.length;
    const options = given[count] as CallOptions | undefined;
    const request = args === "request" ? (given[0] ?? {}) : named(args, given);
    if (pages) return await allItems(pagesOf(call, name as PagedMethodName, request, options));
    const response: Readonly<Record<string, unknown>> = await call(name, request as RequestOf<typeof name>, options);
    return gives === undefined ? response : response[gives];
  };
}

function named(fields: readonly string[], given: readonly unknown[]): object {
  return Object.fromEntries(fields.flatMap((field, at) => (given[at] === undefined ? [] : [[field, given[at]]])));
}
