// Who was exposed to a campaign, page by page.

import { at, get } from "./api.js";
import { fill, h, link } from "./dom.js";
import { button, field, mark, nothing, number, region, select, table, time } from "./parts.js";

const PAGE = 50;
const OUTCOMES = [["sent", "were sent it"], ["delivered", "got it delivered"], ["failed", "it failed for"], ["control", "are in the control group"]];

export function exposed(page) {
  const outcome = select(OUTCOMES, page.query.get("outcome") ?? "sent", () => {
    page.replaceQuery({ outcome: outcome.value });
    refresh();
  });
  const { place, refresh } = region(page.signal, async (signal) => {
    const users = [];
    const rows = h("div");
    await more(null);
    return rows;

    async function more(cursor) {
      const next = await get(at("campaigns", page.key, "users"), { outcome: outcome.value, limit: PAGE, cursor }, signal);
      users.push(...next.users);
      fill(rows, drawn(users), next.next && h("p", button("Show more", () => more(next.next))));
    }
  });
  return h("section", { class: "card" }, h("div", { class: "row" }, h("h2", "Who got it"), field("Users who", outcome)), place);
}

function drawn(users) {
  if (users.length === 0) return nothing("Nobody yet.", "Users appear here once the campaign has decided on them.");
  const row = ({ user_id, at, times, arm }) => [link(user_id, "users", user_id), time(at), number(times), mark(arm ?? "treatment")];
  return table("Users", [["User", "wide"], ["Last", ""], ["Times", "number"], ["Arm", ""]], users.map(row));
}
