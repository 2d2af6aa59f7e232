/** Prometheus' text format: prom-client writes it, we provide the numbers. */
import { AggregatorRegistry } from 'prom-client';
import { bucketBounds, type Histogram } from './metrics.ts';

export type Labels = Readonly<Record<string, string>>;

/** A metric with all its series. */
export type Family = {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Series with the same labels are added up. */
  readonly aggregator: 'sum';
  readonly values: readonly Sample[];
};

type Sample = { readonly labels: Labels; readonly value: number; readonly metricName?: string };

export function counter(name: string, help: string, values: readonly Sample[]): Family {
  return { name, help, type: 'counter', aggregator: 'sum', values };
}

export function gauge(name: string, help: string, values: readonly Sample[]): Family {
  return { name, help, type: 'gauge', aggregator: 'sum', values };
}

export function histogram(
  name: string,
  help: string,
  series: readonly { readonly labels: Labels; readonly histogram: Histogram }[],
): Family {
  const values = series.flatMap((one) => histogramSamples(name, one.labels, one.histogram));
  return { name, help, type: 'histogram', aggregator: 'sum', values };
}

/** The text that Prometheus scrapes. */
export function formatFamilies(families: readonly Family[]): Promise<string> {
  // `aggregate` builds a registry from metrics in plain values, which is what we have.
  // There is nothing to aggregate.
  return AggregatorRegistry.aggregate([families]).metrics();
}

/** In the text format, each bucket includes all lower ones. */
function histogramSamples(name: string, labels: Labels, { counts, sum }: Histogram): Sample[] {
  let count = 0;
  const buckets = counts.map((inBucket, index) => {
    count += inBucket;
    const le = index < bucketBounds.length ? `${bucketBounds[index]}` : '+Inf';
    return { labels: { ...labels, le }, value: count, metricName: `${name}_bucket` };
  });
  return [
    ...buckets,
    { labels, value: sum, metricName: `${name}_sum` },
    { labels, value: count, metricName: `${name}_count` },
  ];
}
