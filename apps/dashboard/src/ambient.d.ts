/** Made by `vite.config.mjs` from the contract. */
declare module "virtual:contract" {
  interface Route {
    readonly verb: string;
    readonly path: string;
    readonly access: string;
  }
  type Name = import("@blixard/protocol").HttpMethodName;
  type OwnName = "metrics" | "console" | "pageLogin" | "beginSession" | "session" | "endSession";
  /** Absent: served for diagnosis only. */
  export const routes: Readonly<Partial<Record<Name, Route>>>;
  export const ownRoutes: Readonly<Record<OwnName, Route>>;
  export const nodeReachable: string;
  export const vmVerbs: Readonly<Record<import("@blixard/protocol").VmVerbName, import("@blixard/protocol").VmVerb>>;
}

/** Styles, which the build takes. */
declare module "*.css" {}
