/**
 * A worker in a process of its own, for `ulimit -n`: `few-descriptors.ts CONFIG ADDRESS,…`. The name `many.test` has these
 * addresses. It counts what it uses as a worker does, only more often, and sends the ports of its listeners.
 */
import { loadConfig } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { processUse } from '../../src/observe/metrics.ts';
import { startWorker } from '../../src/worker/standalone.ts';

const [file = '', addresses = ''] = process.argv.slice(2);
const loaded = await loadConfig(file);
const logger = createLogger('info', { write: (line) => void process.stdout.write(line) });
const worker = await startWorker(loaded, logger, {
  resolver: { resolve: async () => addresses.split(',') },
});
setInterval(processUse, 20);
process.send?.(Object.fromEntries([...worker.bound].map(([name, [bound]]) => [name, bound?.port])));
process.on('disconnect', () => process.exit(0));
