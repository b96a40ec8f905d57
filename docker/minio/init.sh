#!/bin/sh
# A bucket for MLflow's artifacts, one for dataset versions, and a user for each that may use no other.
set -eu
for bucket in mlflow datasets; do
  mc mb --ignore-existing "store/$bucket"
  mc version enable "store/$bucket"
  cat > "/tmp/$bucket.json" <<POLICY
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
   "Resource": ["arn:aws:s3:::$bucket"]},
  {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
   "s3:ListMultipartUploadParts"], "Resource": ["arn:aws:s3:::$bucket/*"]}
]}
POLICY
  mc admin policy create store "$bucket" "/tmp/$bucket.json"
done
mc admin user add store mlflow "$MLFLOW_KEY"
mc admin user add store datasets "$DATASETS_KEY"
for user in mlflow datasets; do
  mc admin policy attach store "$user" --user "$user" 2>/dev/null || true  # attached already
done
