"""NannyML's CBPE on its own car loan, after its quickstart; prints the estimated accuracy of each part."""

import json
import os
import sys
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
import nannyml as nml


def main() -> None:
    warnings.simplefilter("ignore")
    reference, live, _ = nml.load_synthetic_car_loan_dataset()
    estimator = nml.CBPE(
        y_pred_proba="y_pred_proba", y_pred="y_pred", y_true="repaid", problem_type="classification_binary",
        metrics=["accuracy"], chunk_size=int(sys.argv[1]),
    )  # fmt: skip
    estimator.fit(reference)
    found = estimator.estimate(live).filter(period="analysis").to_df()
    print(json.dumps(found["accuracy", "value"].astype(float).tolist()))


if __name__ == "__main__":
    main()
