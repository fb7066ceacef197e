import type { Logger } from "../../common/types.ts";

/** One update's numbers by name. Values that are not finite are written as null. */
export type MetricsRecord = Readonly<Record<string, number | string | boolean | null>>;

/** Takes one record an update. */
export interface MetricsSink {
  /**
   * Take a record. Never throws and never waits: a sink's trouble must not stop training.
   * @param step Number of the update, growing.
   * @param record Its numbers.
   */
  log(step: number, record: MetricsRecord): void;
  /** Write what is left and release everything. Never rejects. */
  close(): Promise<void>;
}

/**
 * Make one sink of several.
 * @param sinks Each gets every record, in this order.
 * @param logger Takes a warning if one throws all the same.
 * @returns A sink that owns the given ones.
 */
export function combineSinks(sinks: readonly MetricsSink[], logger: Logger): MetricsSink {
  const warn = (error: unknown) =>
    logger.warn(`A metrics sink failed: ${error instanceof Error ? error.message : error}`);
  return {
    log(step, record) {
      for (const sink of sinks) {
        try {
          sink.log(step, record);
        } catch (error) {
          warn(error);
        }
      }
    },
    async close() {
      const results = await Promise.allSettled(sinks.map((sink) => sink.close()));
      for (const result of results) if (result.status === "rejected") warn(result.reason);
    },
  };
}
