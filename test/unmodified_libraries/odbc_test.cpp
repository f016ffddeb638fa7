// unixODBC with PostgreSQL's driver, unmodified, against PostgreSQL.
#include <sql.h>
#include <sqlext.h>

#include <doctest/doctest.h>

#include <cstdlib>

#include "unmodified_libraries/postgres.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

SQLCHAR* text_of_odbc(const std::string& text) {
  return reinterpret_cast<SQLCHAR*>(const_cast<char*>(text.c_str()));
}

struct Connection {
  Connection() {
    SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &environment);
    SQLSetEnvAttr(environment, SQL_ATTR_ODBC_VERSION, reinterpret_cast<void*>(SQL_OV_ODBC3), 0);
    SQLAllocHandle(SQL_HANDLE_DBC, environment, &connection);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (statement != nullptr) SQLFreeHandle(SQL_HANDLE_STMT, statement);
    SQLDisconnect(connection);
    SQLFreeHandle(SQL_HANDLE_DBC, connection);
    SQLFreeHandle(SQL_HANDLE_ENV, environment);
  }
  static void must(SQLRETURN status, SQLSMALLINT kind, SQLHANDLE handle) {
    if (SQL_SUCCEEDED(status)) return;
    SQLCHAR state[6] = {}, text[300] = {};
    SQLINTEGER number = 0;
    SQLSMALLINT length = 0;
    SQLGetDiagRec(kind, handle, 1, state, &number, text, sizeof text, &length);
    throw Failure(reinterpret_cast<const char*>(text));
  }
  std::string query(const std::string& address, const std::string& text) {
    must(SQLDriverConnect(connection, nullptr, text_of_odbc(address), SQL_NTS, nullptr, 0, nullptr,
                          SQL_DRIVER_NOPROMPT),
         SQL_HANDLE_DBC, connection);
    SQLAllocHandle(SQL_HANDLE_STMT, connection, &statement);
    must(SQLExecDirect(statement, text_of_odbc(text), SQL_NTS), SQL_HANDLE_STMT, statement);
    must(SQLFetch(statement), SQL_HANDLE_STMT, statement);
    SQLCHAR value[100] = {};
    must(SQLGetData(statement, 1, SQL_C_CHAR, value, sizeof value, nullptr), SQL_HANDLE_STMT,
         statement);
    return reinterpret_cast<const char*>(value);
  }
  SQLHENV environment = nullptr;
  SQLHDBC connection = nullptr;
  SQLHSTMT statement = nullptr;
};

std::string version() {
  Connection its;
  SQLCHAR text[30] = {};
  SQLGetInfo(its.connection, SQL_DM_VER, text, sizeof text, nullptr);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

TEST_CASE("unixODBC: queries") {
  const Postgres postgres;
  const TemporaryDirectory settings;
  // Without this its driver manager lets one call at a time into a driver.
  settings.write("odbcinst.ini",
                 "[postgres]\nDriver=psqlodbcw.so\nThreading=0\nCPTimeout=0\nDontDLClose=1\n");
  ::setenv("ODBCSYSINI", settings.path().c_str(), 1);
  try_out({.library = "unixODBC, psqlodbc",
           .version = version(),
           .function = nullptr,  // the driver is loaded by the first connection
           .server = "PostgreSQL",
           .port = postgres.port(),
           .call =
               [](int port) {
                 return Connection().query(
                     "Driver=postgres;Server=127.0.0.1;Port=" + std::to_string(port) +
                         ";Database=postgres;Uid=fiber;SSLmode=disable;",
                     "SELECT 'hello'");
               },
           .answer = "hello"});
}
