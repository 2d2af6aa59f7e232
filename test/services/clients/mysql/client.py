"""PyMySQL: HOST PORT USER PASSWORD CA [CERT KEY]. Fetches, and kills a session of its own."""
import sys
import pymysql

host, port, user, password, ca, *pair = sys.argv[1:]
tls = {'ca': ca, 'check_hostname': True}
if pair:
    tls.update(cert=pair[0], key=pair[1])


def connect():
    return pymysql.connect(host=host, port=int(port), user=user, password=password, ssl=tls)


try:
    db = connect()
except pymysql.MySQLError as error:
    print(error)
    sys.exit(1)
with db.cursor() as cursor:
    cursor.execute("select %s + 1, length(repeat('x', %s)), current_user()", (41, 70000))
    print(*cursor.fetchone())
other = connect()
# The first command of PyMySQL is its own: SET AUTOCOMMIT. So the server gets the id as it is.
try:
    other.kill(db.thread_id())
    print('killed')
except pymysql.MySQLError as error:
    print('not killed:', error.args[0])
