<?php
// PHP's mysqlnd: HOST PORT USER PASSWORD CA [CERT KEY]. Prepares, fetches, and cancels a query of its own.
[, $host, $port, $user, $password, $ca, $cert, $key] = $argv + array_fill(0, 8, null);
mysqli_report(MYSQLI_REPORT_OFF);

function connect() {
  global $host, $port, $user, $password, $ca, $cert, $key;
  $db = mysqli_init();
  $db->options(MYSQLI_OPT_SSL_VERIFY_SERVER_CERT, true);
  $db->ssl_set($key, $cert, $ca, null, null);
  if (!$db->real_connect($host, $user, $password, '', (int) $port, null, MYSQLI_CLIENT_SSL)) {
    echo mysqli_connect_error(), "\n";
    exit(1);
  }
  return $db;
}

$db = connect();
$prepared = $db->prepare("select ? + 1, length(repeat('x', ?)), current_user()");
[$number, $length] = [41, 70000];
$prepared->bind_param('ii', $number, $length);
$prepared->execute();
echo implode(' ', $prepared->get_result()->fetch_row()), "\n";
$prepared->close();
$db->query('select sleep(20)', MYSQLI_ASYNC);
connect()->query("KILL QUERY $db->thread_id");
$result = $db->reap_async_query();
echo $result && $result->fetch_row()[0] === '0' ? 'not cancelled' : 'cancelled', "\n";
