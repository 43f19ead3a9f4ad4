/** An error: what, why, and what next. */
import type { ApiError } from "../model/api-error.ts";

export function ErrorBox({ error }: { readonly error: ApiError }) {
  return (
    <div class="error" role="alert">
      <strong>{error.message}</strong>
      {error.isUnknown && <p>Nobody can say whether the change took effect. Look before you repeat it.</p>}
      {error.hint !== "" && <p>{error.hint}</p>}
      {error.code !== "" && <code>{error.code}</code>}
    </div>
  );
}
