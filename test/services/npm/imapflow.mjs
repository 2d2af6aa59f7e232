/**
 * imapflow: logs in as the JSON of its argument says, which becomes its options, and prints as JSON how many messages INBOX has, and whether the
 * connection is secure; or the error's message.
 */
import { ImapFlow } from 'imapflow';

const client = new ImapFlow({ logger: false, ...JSON.parse(process.argv[2]) });
client.on('error', () => {});
try {
  await client.connect();
  const { messages } = await client.status('INBOX', { messages: true });
  console.log(JSON.stringify({ messages, secure: client.secureConnection }));
  await client.logout();
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
process.exit();
