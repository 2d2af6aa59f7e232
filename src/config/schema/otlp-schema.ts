/** OpenTelemetry's section of the configuration. */
import { z } from 'zod';
import { duration } from './values.ts';

function isHttp(text: string): boolean {
  return URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol);
}

export const otlp = z
  .strictObject({
    endpoint: z
      .string()
      .refine(isHttp, 'expected an address such as http://127.0.0.1:4318')
      .describe('The collector: OTLP over HTTP, with JSON; `/v1/logs` and `/v1/metrics` are added.')
      .meta({ samples: ['http://127.0.0.1:4318'] }),
    logs: z.boolean().default(true).describe('Sends each line of the log, besides writing it.'),
    metrics: z.boolean().default(true).describe('Sends what `/metrics` has.'),
    interval: duration.prefault('60s').describe('How often metrics are sent.'),
    headers: z
      .record(z.string(), z.string())
      .default({})
      .describe('HTTP headers of each request.')
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable as configurations write it.
      .meta({ samples: [{ authorization: 'Bearer ${OTLP_TOKEN}' }] }),
    resource: z
      .record(z.string(), z.string())
      .default({})
      .describe('Attributes of the resource, besides `service.name` (penstock), `host.name` and others.')
      .meta({ samples: [{ 'deployment.environment.name': 'production' }] }),
  })
  .optional()
  .describe('Logs and metrics for OpenTelemetry, with its packages, which are installed beside penstock.');
