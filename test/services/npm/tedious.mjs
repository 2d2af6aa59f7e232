/**
 * tedious, Microsoft's own way from JavaScript to SQL Server: connects as the JSON of its argument says, which becomes its `options` (with
 * `ca`, `cert` and `key` as PEM), asks for 42, and prints as JSON what came of it.
 */
import { Connection, Request } from 'tedious';

const { ca, cert, key, ...options } = JSON.parse(process.argv[2]);
const connection = new Connection({
  server: '127.0.0.1',
  authentication: { type: 'default', options: { userName: 'sa', password: 'x' } },
  options: {
    connectTimeout: 20_000,
    maxRetriesOnTransientErrors: 0,
    cryptoCredentialsDetails: { ca, cert, key },
    ...options,
  },
});
connection.on('error', () => {});
connection.connect((error) => {
  if (error) return finish({ error: error.message });
  let n;
  const request = new Request('select 42 as n', (failed) =>
    finish(failed ? { error: failed.message } : { n }),
  );
  request.on('row', ([{ value }]) => {
    n = value;
  });
  connection.execSqlBatch(request);
});

function finish(result) {
  console.log(JSON.stringify(result));
  connection.close();
}
