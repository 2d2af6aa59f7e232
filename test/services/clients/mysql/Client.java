import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** MariaDB Connector/J: URL USER PASSWORD. Prepares, fetches, and cancels a query of its own. */
public class Client {
  public static void main(String[] args) throws Exception {
    try (Connection connection = DriverManager.getConnection(args[0], args[1], args[2])) {
      try (PreparedStatement prepared = connection.prepareStatement("select ? + 1, length(repeat('x', ?)), current_user()")) {
        prepared.setInt(1, 41);
        prepared.setInt(2, 70000);
        try (ResultSet rows = prepared.executeQuery()) {
          rows.next();
          System.out.println(rows.getInt(1) + " " + rows.getInt(2) + " " + rows.getString(3));
        }
      }
      try (Statement statement = connection.createStatement()) {
        Thread canceller = new Thread(() -> {
          try {
            Thread.sleep(500);
            statement.cancel();
          } catch (Exception error) {
            System.out.println("cancel: " + error.getMessage());
          }
        });
        canceller.start();
        try (ResultSet rows = statement.executeQuery("select sleep(20)")) {
          rows.next();
          System.out.println(rows.getInt(1) == 1 ? "cancelled" : "not cancelled");
        } catch (SQLException error) {
          System.out.println("cancelled");
        }
      }
    }
  }
}
