// Names of statuses. Python: requests.codes.
//
//   if (response.status_code == requests::codes.not_found) ...
#pragma once

namespace fiber::requests {
namespace detail {

struct Codes {
  int continue_ = 100;
  int switching_protocols = 101;
  int processing = 102;
  int checkpoint = 103;
  int uri_too_long = 122;
  int request_uri_too_long = 122;
  int ok = 200;
  int okay = 200;
  int all_ok = 200;
  int all_okay = 200;
  int all_good = 200;
  int created = 201;
  int accepted = 202;
  int non_authoritative_info = 203;
  int non_authoritative_information = 203;
  int no_content = 204;
  int reset_content = 205;
  int reset = 205;
  int partial_content = 206;
  int partial = 206;
  int multi_status = 207;
  int multiple_status = 207;
  int multi_stati = 207;
  int multiple_stati = 207;
  int already_reported = 208;
  int im_used = 226;
  int multiple_choices = 300;
  int moved_permanently = 301;
  int moved = 301;
  int found = 302;
  int see_other = 303;
  int other = 303;
  int not_modified = 304;
  int use_proxy = 305;
  int switch_proxy = 306;
  int temporary_redirect = 307;
  int temporary_moved = 307;
  int temporary = 307;
  int permanent_redirect = 308;
  int resume_incomplete = 308;
  int resume = 308;
  int bad_request = 400;
  int bad = 400;
  int unauthorized = 401;
  int payment_required = 402;
  int payment = 402;
  int forbidden = 403;
  int not_found = 404;
  int method_not_allowed = 405;
  int not_allowed = 405;
  int not_acceptable = 406;
  int proxy_authentication_required = 407;
  int proxy_auth = 407;
  int proxy_authentication = 407;
  int request_timeout = 408;
  int timeout = 408;
  int conflict = 409;
  int gone = 410;
  int length_required = 411;
  int precondition_failed = 412;
  int request_entity_too_large = 413;
  int request_uri_too_large = 414;
  int unsupported_media_type = 415;
  int unsupported_media = 415;
  int media_type = 415;
  int requested_range_not_satisfiable = 416;
  int requested_range = 416;
  int range_not_satisfiable = 416;
  int expectation_failed = 417;
  int im_a_teapot = 418;
  int teapot = 418;
  int i_am_a_teapot = 418;
  int misdirected_request = 421;
  int unprocessable_entity = 422;
  int unprocessable = 422;
  int locked = 423;
  int failed_dependency = 424;
  int dependency = 424;
  int unordered_collection = 425;
  int unordered = 425;
  int upgrade_required = 426;
  int upgrade = 426;
  int precondition_required = 428;
  int precondition = 428;
  int too_many_requests = 429;
  int too_many = 429;
  int header_fields_too_large = 431;
  int fields_too_large = 431;
  int no_response = 444;
  int none = 444;
  int retry_with = 449;
  int retry = 449;
  int blocked_by_windows_parental_controls = 450;
  int parental_controls = 450;
  int unavailable_for_legal_reasons = 451;
  int legal_reasons = 451;
  int client_closed_request = 499;
  int internal_server_error = 500;
  int server_error = 500;
  int not_implemented = 501;
  int bad_gateway = 502;
  int service_unavailable = 503;
  int unavailable = 503;
  int gateway_timeout = 504;
  int http_version_not_supported = 505;
  int http_version = 505;
  int variant_also_negotiates = 506;
  int insufficient_storage = 507;
  int bandwidth_limit_exceeded = 509;
  int bandwidth = 509;
  int not_extended = 510;
  int network_authentication_required = 511;
  int network_auth = 511;
  int network_authentication = 511;
};

}  // namespace detail

/// The names that C++ allows; `continue` is continue_. Names in capitals are not here.
inline constexpr detail::Codes codes{};

}  // namespace fiber::requests
