// sentry-sdk: a task with a statement, a log line and an error; spans are streamed, or a transaction's.
import * as Sentry from "@sentry/node";

Sentry.init({
  dsn: process.env.DSN,
  spotlight: process.env.SPOTLIGHT,
  traceLifecycle: process.env.LIFECYCLE,
  tracesSampleRate: 1,
  enableLogs: true,
  release: "web@3",
  environment: "abroad",
});
Sentry.setUser({ id: "ada" });
Sentry.startSpan({ op: "task", name: `task ${process.env.NAME}` }, () => {
  Sentry.startSpan({ op: "db", name: "SELECT 1" }, () => {});
  Sentry.logger.warn("a line");
  try {
    null.work();
  } catch (error) {
    Sentry.captureException(error);
  }
});
await Sentry.flush(10000);
