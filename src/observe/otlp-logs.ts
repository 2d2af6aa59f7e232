/** Logs by OTLP, with OpenTelemetry's packages: optional, and loaded only if they are configured. */
import type { AnyValue, Logger } from '@opentelemetry/api-logs';
import type { OtlpConfig } from '../config/schema/schema.ts';
import { version } from '../process/version.ts';
import { describeResource, importOptional, signalUrl } from './otlp.ts';

export type OtlpLogs = {
  /** Takes a line of JSON, as `createLogger` writes it. */
  readonly write: (line: string) => void;
  /** Sends what waits, for at most a second. */
  readonly close: () => Promise<void>;
};

/** More waits for no collector: lines beyond are dropped. */
const mostWaiting = 8192;
const closeMs = 1000;

/** Rejects with an Error that says what to install. `failed` is called once, when lines cannot be sent. */
export async function openOtlpLogs(config: OtlpConfig, failed: (error: Error) => void): Promise<OtlpLogs> {
  const { LoggerProvider, BatchLogRecordProcessor } = await importOptional(
    '@opentelemetry/sdk-logs',
    () => import('@opentelemetry/sdk-logs'),
  );
  const { OTLPLogExporter } = await importOptional(
    '@opentelemetry/exporter-logs-otlp-http',
    () => import('@opentelemetry/exporter-logs-otlp-http'),
  );
  const { resourceFromAttributes } = await importOptional(
    '@opentelemetry/resources',
    () => import('@opentelemetry/resources'),
  );
  const { setGlobalErrorHandler } = await importOptional(
    '@opentelemetry/core',
    () => import('@opentelemetry/core'),
  );
  let hasFailed = false;
  setGlobalErrorHandler((error) => {
    if (!hasFailed) failed(error instanceof Error ? error : new Error(String(error)));
    hasFailed = true;
  });
  const exporter = new OTLPLogExporter({ url: signalUrl(config, 'logs'), headers: { ...config.headers } });
  const processor = new BatchLogRecordProcessor({ exporter, maxQueueSize: mostWaiting });
  const provider = new LoggerProvider({
    resource: resourceFromAttributes(describeResource(config)),
    processors: [processor],
  });
  const logger = provider.getLogger('penstock', version);
  return {
    write: (line) => emit(logger, line),
    async close() {
      const sent = provider.shutdown().catch(() => {});
      await Promise.race([sent, new Promise((resolve) => setTimeout(resolve, closeMs).unref())]);
    },
  };
}

/** The numbers of OpenTelemetry's data model. */
const severities: Readonly<Record<string, number>> = {
  trace: 1,
  debug: 5,
  info: 9,
  warn: 13,
  error: 17,
  fatal: 21,
};

function emit(logger: Logger, line: string): void {
  const { level, time, msg, ...attributes } = JSON.parse(line) as Record<string, AnyValue>;
  logger.emit({
    timestamp: new Date(String(time)),
    severityText: String(level),
    severityNumber: severities[String(level)] ?? 0,
    body: msg ?? '',
    attributes,
  });
}
