/** Metrics by OTLP: what /metrics has, sent every so often. */
import type { Attributes, HrTime } from '@opentelemetry/api';
import type { MetricData } from '@opentelemetry/sdk-metrics';
import type { OtlpConfig } from '../config/schema/schema.ts';
import { version } from '../process/version.ts';
import type { Family } from './exposition.ts';
import { bucketBounds } from './metrics.ts';
import { describeResource, importOptional, signalUrl } from './otlp.ts';

type Sources = {
  /** All metrics, as of now. */
  readonly families: () => Promise<readonly Family[]>;
  /** Called with why they could not be sent, once until they are sent again. */
  readonly failed: (error: Error) => void;
};

export type OtlpMetrics = { readonly close: () => Promise<void> };

const closeMs = 1000;

/** Rejects with an Error that says what to install. */
export async function openOtlpMetrics(config: OtlpConfig, sources: Sources): Promise<OtlpMetrics> {
  const { OTLPMetricExporter } = await importOptional(
    '@opentelemetry/exporter-metrics-otlp-http',
    () => import('@opentelemetry/exporter-metrics-otlp-http'),
  );
  const { resourceFromAttributes } = await importOptional(
    '@opentelemetry/resources',
    () => import('@opentelemetry/resources'),
  );
  const exporter = new OTLPMetricExporter({
    url: signalUrl(config, 'metrics'),
    headers: { ...config.headers },
  });
  const resource = resourceFromAttributes(describeResource(config));
  const startTime = timeOf(Date.now());
  let hasFailed = false;
  let isSending = false;

  async function send(): Promise<void> {
    const metrics = dataOf(await sources.families(), startTime, timeOf(Date.now()));
    const scopeMetrics = [{ scope: { name: 'penstock', version }, metrics }];
    await new Promise<void>((resolve) =>
      exporter.export({ resource, scopeMetrics }, ({ error }) => {
        if (error && !hasFailed) sources.failed(error);
        hasFailed = error !== undefined;
        resolve();
      }),
    );
  }

  async function sendInTurn(): Promise<void> {
    if (isSending) return;
    isSending = true;
    await send().catch((error: Error) => sources.failed(error));
    isSending = false;
  }

  const timer = setInterval(() => void sendInTurn(), config.interval).unref();
  return {
    async close() {
      clearInterval(timer);
      const sent = sendInTurn().then(() => exporter.shutdown());
      await Promise.race([sent, new Promise((resolve) => setTimeout(resolve, closeMs).unref())]).catch(
        () => {},
      );
    },
  };
}

const timeOf = (ms: number): HrTime => [Math.floor(ms / 1000), (ms % 1000) * 1e6];

/** As enumerations of OpenTelemetry have them, which would have to be loaded for their numbers. */
const [doubles, cumulative, histogramType, gaugeType, sumType] = [1, 1, 0, 2, 3] as const;

/** Counters and histograms count since the start; gauges are as they are. */
export function dataOf(families: readonly Family[], startTime: HrTime, endTime: HrTime): MetricData[] {
  return families.map((family): MetricData => {
    const common = {
      descriptor: {
        name: family.name,
        description: family.help,
        unit: unitOf(family.name),
        valueType: doubles,
      },
      aggregationTemporality: cumulative,
    };
    const point = <T>(attributes: Attributes, value: T) => ({ startTime, endTime, attributes, value });
    switch (family.type) {
      case 'histogram':
        return {
          ...common,
          dataPointType: histogramType,
          dataPoints: histogramsOf(family).map(({ labels, value }) => point(labels, value)),
        };
      case 'gauge':
        return {
          ...common,
          dataPointType: gaugeType,
          dataPoints: family.values.map(({ labels, value }) => point(labels, value)),
        };
      default:
        return {
          ...common,
          dataPointType: sumType,
          isMonotonic: true,
          dataPoints: family.values.map(({ labels, value }) => point(labels, value)),
        };
    }
  });
}

/** Prometheus' buckets include all lower ones; OpenTelemetry's do not. */
function histogramsOf({ name, values }: Family) {
  const found = new Map<string, { labels: Attributes; buckets: number[]; sum: number; count: number }>();
  for (const { labels, value, metricName } of values) {
    const { le, ...own } = labels;
    const key = JSON.stringify(own);
    const series = found.get(key) ?? { labels: own, buckets: [], sum: 0, count: 0 };
    found.set(key, series);
    if (le !== undefined) series.buckets.push(value);
    else if (metricName === `${name}_sum`) series.sum = value;
    else series.count = value;
  }
  return [...found.values()].map(({ labels, buckets, sum, count }) => ({
    labels,
    value: {
      buckets: {
        boundaries: [...bucketBounds],
        counts: buckets.map((value, index) => value - (buckets[index - 1] ?? 0)),
      },
      sum,
      count,
    },
  }));
}

function unitOf(name: string): string {
  return name.endsWith('_seconds') || name.endsWith('_seconds_total')
    ? 's'
    : /_bytes(_total)?$/.test(name)
      ? 'By'
      : '1';
}
