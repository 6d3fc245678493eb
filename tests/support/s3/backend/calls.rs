//! The calls as s3s dispatches them, and the lists.

use super::*;

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.put(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head(&request)
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut bucket = self.lock();
        bucket.deletes += 1;
        if let Some(object) = bucket.objects.remove(&request.input.key) {
            object.body.discard();
        }
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.create(request)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort(&request.input)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        Ok(S3Response::new(self.upload_page(request.input)))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let mut bucket = self.lock();
        let upload = bucket.upload(&request.input.key, &request.input.upload_id)?;
        let part = |(number, part): (&i32, &StoredPart)| Part {
            part_number: Some(*number),
            e_tag: Some(strong(&part.etag)),
            size: Some(signed(part.bytes)),
            ..Default::default()
        };
        Ok(S3Response::new(ListPartsOutput {
            key: Some(request.input.key.clone()),
            upload_id: Some(request.input.upload_id.clone()),
            parts: Some(upload.parts.iter().map(part).collect()),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        Ok(S3Response::new(self.object_page(request.input)))
    }

    async fn head_bucket(&self, _: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket_region = Some(self.gate.region.clone());
        Ok(S3Response::new(HeadBucketOutput { bucket_region, ..Default::default() }))
    }

    async fn get_bucket_location(
        &self,
        _: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let location_constraint = Some(BucketLocationConstraint::from(self.gate.region.clone()));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    async fn get_bucket_encryption(
        &self,
        _: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        self.protections().encryption().map(S3Response::new)
    }

    async fn get_public_access_block(
        &self,
        _: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        self.protections().public_access().map(S3Response::new)
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        _: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        self.protections().lifecycle().map(S3Response::new)
    }
}

impl Backend {
    pub fn protections(&self) -> MutexGuard<'_, Protections> {
        self.protections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By key, then by upload.
    fn upload_page(&self, input: ListMultipartUploadsInput) -> ListMultipartUploadsOutput {
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone().unwrap_or_default());
        let bucket = self.lock();
        let mut all: Vec<(String, String, Timestamp)> = bucket
            .uploads
            .iter()
            .map(|(id, upload)| (upload.key.clone(), id.clone(), upload.initiated.clone()))
            .filter(|(key, id, _)| key.starts_with(&prefix) && (key, id) > (&after.0, &after.1))
            .collect();
        all.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        let room = self.room(input.max_uploads);
        let truncated = all.len() > room;
        all.truncate(room);
        let last = all.last().cloned().filter(|_| truncated);
        let upload = |(key, id, initiated)| MultipartUpload {
            key: Some(key),
            upload_id: Some(id),
            initiated: Some(initiated),
            ..Default::default()
        };
        ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(truncated),
            next_key_marker: last.as_ref().map(|last| last.0.clone()),
            next_upload_id_marker: last.map(|last| last.1),
            uploads: Some(all.into_iter().map(upload).collect()),
            ..Default::default()
        }
    }

    /// A page's token is the last key before it.
    fn object_page(&self, input: ListObjectsV2Input) -> ListObjectsV2Output {
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.or(input.start_after).unwrap_or_default();
        let bucket = self.lock();
        let wanted = |key: &String| key.starts_with(&prefix) && *key > after;
        let mut all: Vec<s3s::dto::Object> = Vec::new();
        let mut truncated = false;
        let room = self.room(input.max_keys);
        for (key, object) in bucket.objects.iter().filter(|(key, _)| wanted(key)) {
            truncated = all.len() == room;
            if truncated {
                break;
            }
            all.push(s3s::dto::Object {
                key: Some(key.clone()),
                size: Some(signed(object.bytes)),
                e_tag: Some(strong(&object.etag)),
                last_modified: Some(object.modified.clone()),
                ..Default::default()
            });
        }
        let next = all.last().and_then(|last| last.key.clone()).filter(|_| truncated);
        ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            key_count: i32::try_from(all.len()).ok(),
            is_truncated: Some(truncated),
            next_continuation_token: next,
            contents: Some(all),
            ..Default::default()
        }
    }

    /// How much fits on a page.
    fn room(&self, asked: Option<i32>) -> usize {
        asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(usize::MAX).clamp(1, self.page_size)
    }
}
