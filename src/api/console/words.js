// The words for what a worker says by code: statuses, reasons, gates, results. A code without words here is shown as it is.

/** Why nothing was sent (the outcomes' reasons). */
const REASONS = {
  not_in_audience: "does not belong to the audience",
  history_incomplete: "would belong only because nobody was counting yet",
  control_group: "is in the control group",
  already_sent: "had it already",
  resend_wait: "had it too recently",
  frequency_cap: "has had enough messages for now",
  quiet_hours: "is in quiet hours",
  late_event: "the event came too late",
  stale: "came due too long ago",
  target_limit: "the limit of users is reached",
  campaign_paused: "the campaign is paused",
  campaign_ended: "the campaign has ended",
  outside_window: "outside the time in which the campaign is active",
  cancelled_by_event: "cancelled by an event",
  aborted_by_template: "the template stopped it",
  render_failed: "the request could not be rendered",
  link_failed: "linked content could not be had",
  state_full: "too much is under way for this user",
  user_deleted: "the user was deleted",
  chain_too_long: "campaigns triggered one another too often",
};

/** What is asked, gate by gate. */
const GATES = {
  status: "Is the campaign running?",
  trigger: "Did the trigger happen?",
  late: "Did the event come in time?",
  audience: "Does the user belong to the audience?",
  resend: "May the user have it (again)?",
  active_window: "Is the campaign active at this time?",
  stale: "Is it still worth sending?",
  control: "Is the user outside the control group?",
  quiet_hours: "Is it outside quiet hours?",
  frequency_caps: "Do the frequency caps allow it?",
  limit: "Is there room below the limit of users?",
  content: "Can the request be rendered?",
  room: "Is there room for another delivery to this user?",
};

const PASSAGES = { open: "yes", waits: "not yet", shut: "no", unknown: "known only when it is sent" };

/** What comes next, for a campaign of this status. */
const STATUSES = {
  ready: "not started yet",
  running: "reads events and sends",
  paused: "holds what is not started",
  ended: "is over for good; its statistics stay",
};

const TRIGGERS = {
  action: "an action",
  actions: "several actions",
  inaction: "something not done",
  date: "a date",
  schedule: "a schedule",
  api: "the API",
  cohort: "a cohort",
};

export const reason = (code) => REASONS[code] ?? code;
export const gate = (code) => GATES[code] ?? code;
export const passage = (code) => PASSAGES[code] ?? code;
export const status = (code) => STATUSES[code] ?? code;
export const trigger = (code) => TRIGGERS[code] ?? code;

/** A cap, a limit or a resend rule as a sentence; any other rule as it is written. */
export function rule(shown) {
  if (shown === null || shown === undefined) return null;
  if (typeof shown !== "object") return String(shown);
  const { limit, per, calendar, channel, tag, resend } = shown;
  if (resend !== undefined) return resend === "never" ? "once per user, ever" : `again after ${resend.after} at the earliest`;
  if (limit?.users !== undefined) return `at most ${limit.users} users${limit.per ? ` a ${limit.per}` : ""}`;
  if (limit === undefined) return JSON.stringify(shown);
  const window = calendar ? `a calendar ${calendar}` : `in ${per}`;
  return [`at most ${limit} ${window}`, channel && `on ${channel}`, tag && `tagged ${tag}`].filter(Boolean).join(", ");
}
