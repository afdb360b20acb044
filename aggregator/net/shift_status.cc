#include "aggregator/net/shift_status.h"

#include <utility>

#include "aggregator/shift/shift_json.h"
#include "aggregator/shift/shift_report.h"
#include "common/base/logging.h"

namespace fedgraft {

void ShiftStatus::Fill(pb::StatusReply& status) {
  ShiftFindings findings = coordinator_.Findings(run_, version_);
  if (findings.run != run_ || findings.version != version_) {
    run_ = findings.run;
    version_ = findings.version;
    json_.clear();
    table_.clear();
    if (findings.every > 0 || !findings.values.empty()) {
      ShiftReportOptions options;
      if (findings.every > 0) {
        options.false_alarm_rate = findings.false_alarm_rate;
      }
      options.rounds = findings.looks;
      options.class_names = std::move(findings.classes);
      const auto report = MakeShiftReport(findings.values, options);
      if (report.ok()) {
        json_ = ShiftReportJson(*report);
        table_ = ShiftReportTable(*report);
      } else {
        FG_LOG_WARNING("run {}: no report on shift: {}", run_.value,
                       report.status().ToString());
      }
    }
  }
  status.set_shift_report(json_);
  status.set_shift_table(table_);
}

}  // namespace fedgraft
